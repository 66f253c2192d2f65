"""The hub's WebSocket API: frames, subscriptions, and what a client may do to it."""

import asyncio
import json

import aiohttp
import pytest

from host_tests.hub_kit import KEYS, START, device, error, good, run, until
from host_tests.mqtt_client import PATIENCE_S, publish


class Wire:
    """One WebSocket connection; answers and pushes come apart as client libraries take them."""

    def __init__(self, socket):
        self.socket = socket
        self._number = 0

    async def frame(self):
        """The next frame, whatever it is."""
        return await asyncio.wait_for(self.socket.receive_json(), PATIENCE_S)

    async def ask(self, action, **fields):
        """Send a request; the frame that comes next has to be its answer."""
        self._number += 1
        await self.socket.send_json({"action": action, "requestId": self._number, **fields})
        answer = await self.frame()
        assert (answer["action"], answer["requestId"]) == (action, self._number), answer
        return answer

    async def log_in(self, login="heed", password="heed"):
        tokens = good(await self.ask("token", login=login, password=password))
        good(await self.ask("authenticate", token=tokens["accessToken"]))
        return tokens

    async def quiet(self):
        """That nothing has come up to now: the next frame answers a question."""
        good(await self.ask("server/info"))

    async def end(self):
        """The code with which the hub closed the connection."""
        message = await asyncio.wait_for(self.socket.receive(), PATIENCE_S)
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), message
        return self.socket.close_code


def run_wire(story, **limits):
    """Run `story(hub, clock, wire)`; device `d` is registered and nobody logged in yet."""

    async def go(hub, clock):
        hub.store.save_device("d", name="d", data=None, network=1, type=1)
        for name, value in limits.items():
            setattr(hub._web.sockets, name, value)
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(hub.websocket, max_msg_size=0) as socket,
        ):
            await story(hub, clock, Wire(socket))

    run(go)


async def another(hub, http):
    """A second connection, logged in."""
    wire = Wire(await http.ws_connect(hub.websocket))
    await wire.log_in()
    return wire


def insert(hub, name="on", device_id="d", **fields):
    return hub.store.insert_command(hub.store.devices[device_id], 1, name, **fields)


def update(hub, command, status="succeeded", result=None):
    hub.store.update_command(command, status, result)


# Frames


def test_login_by_password_and_by_token():
    async def story(hub, clock, wire):
        assert error(await wire.ask("device/get", deviceId="d")) == (401, "Unauthorized")
        wrong = await wire.ask("token", login="heed", password="x")
        assert error(wrong) == (401, "Invalid credentials")
        tokens = await wire.log_in()
        good(await wire.ask("device/get", deviceId="d"))
        clock.now_s += 1800
        expired = await wire.ask("authenticate", token=tokens["accessToken"])
        assert error(expired) == (401, "Token expired")
        # The connection outlives its token.
        good(await wire.ask("device/get", deviceId="d"))
        fresh = good(await wire.ask("token/refresh", refreshToken=tokens["refreshToken"]))
        good(await wire.ask("authenticate", token=fresh["accessToken"]))
        made = good(await wire.ask("token/create", payload={"userId": 1, "actions": [5]}))
        good(await wire.ask("authenticate", token=made["accessToken"]))
        assert error(await wire.ask("device/get", deviceId="d")) == (403, "Access is denied")

    run_wire(story)


@pytest.mark.parametrize("request_id", [7, "seven", None, {"n": [1]}, ["a"], 0])
def test_request_id_comes_back_as_it_was(request_id):
    async def story(_hub, _clock, wire):
        await wire.socket.send_json({"action": "server/info", "requestId": request_id})
        answer = good(await wire.frame())
        assert answer["requestId"] == request_id and answer["action"] == "server/info"

    run_wire(story)


@pytest.mark.parametrize("text", ["", "no json", "[1]", "7", '{"a": NaN}', "[" * 300 + "]" * 300])
def test_malformed_is_answered_without_action_and_request_id(text):
    async def story(_hub, _clock, wire):
        await wire.socket.send_str(text)
        answer = {"code": 400, "status": "error", "error": "Malformed Json received."}
        assert await wire.frame() == answer
        await wire.quiet()

    run_wire(story)


def test_unknown_action_is_refused():
    async def story(_hub, _clock, wire):
        assert error(await wire.ask("device/explode")) == (400, "Illegal argument: device/explode")

    run_wire(story)


def test_update_of_a_forgotten_command_is_never_answered():
    async def story(hub, clock, wire):
        await wire.log_in()
        command = insert(hub)
        clock.now_s += 120
        fields = {"deviceId": "d", "commandId": command.id, "command": {"status": "x"}}
        await wire.socket.send_json({"action": "command/update", "requestId": 99, **fields})
        await wire.quiet()

    run_wire(story)


def test_many_requests_at_once_are_answered_in_order():
    async def story(_hub, _clock, wire):
        for number in range(500):
            await wire.socket.send_json({"action": "server/info", "requestId": number})
        assert [(await wire.frame())["requestId"] for _ in range(500)] == list(range(500))

    run_wire(story)


# Subscriptions


def test_commands_are_pushed_and_their_updates_to_whom_asked_for_them():
    async def story(hub, clock, wire):
        await wire.log_in()
        inserts = good(await wire.ask("command/subscribe", deviceId="d"))["subscriptionId"]
        updates = good(
            await wire.ask("command/subscribe", deviceId="d", returnUpdatedCommands=True)
        )["subscriptionId"]
        assert inserts != updates
        await wire.socket.send_json(
            {
                "action": "command/insert",
                "requestId": "r",
                "deviceId": "d",
                "command": {"command": "on", "parameters": {"a": 1}, "lifetime": 30},
            }
        )
        push, answer = await wire.frame(), good(await wire.frame())
        assert (push["action"], push["subscriptionId"]) == ("command/insert", inserts)
        assert "requestId" not in push and set(push["command"]) == KEYS
        command = push["command"]
        assert (command["status"], command["result"], command["userId"]) == (None, None, 1)
        assert answer["command"] == {
            key: command[key] for key in ("id", "timestamp", "lastUpdated", "userId")
        }
        clock.now_s += 1
        update(hub, hub.store.command("d", command["id"]), "succeeded", {"x": 1})
        push = await wire.frame()
        assert (push["action"], push["subscriptionId"]) == ("command/update", updates)
        command |= {"status": "succeeded", "result": {"x": 1}}
        assert push["command"] == command | {"lastUpdated": "2027-01-15T08:00:01.000"}
        assert command["timestamp"] == START
        await wire.quiet()

    run_wire(story)


def test_a_subscription_catches_up_from_its_timestamp():
    async def story(hub, clock, wire):
        await wire.log_in()
        early = insert(hub, "early")
        clock.now_s += 1
        since = "2027-01-15T08:00:01.000"
        exact, late = insert(hub, "exact"), insert(hub, "late")
        update(hub, late)
        number = good(await wire.ask("command/subscribe", timestamp=since))["subscriptionId"]
        pushes = [await wire.frame() for _ in range(2)]
        assert {push["command"]["id"] for push in pushes} == {exact.id, late.id}
        assert {push["action"] for push in pushes} == {"command/insert"}
        assert {push["subscriptionId"] for push in pushes} == {number}
        update(hub, early)
        good(await wire.ask("command/subscribe", timestamp=since, returnUpdatedCommands=True))
        push = await wire.frame()
        assert (push["action"], push["command"]["id"]) == ("command/update", late.id)
        good(await wire.ask("command/subscribe", timestamp=since, limit=1))
        await wire.frame()
        good(await wire.ask("command/subscribe", timestamp=since, limit=0))
        # Without a timestamp only what is still to come.
        good(await wire.ask("command/subscribe"))
        await wire.quiet()

    run_wire(story)


def test_twenty_are_caught_up_with_unless_a_limit_says_otherwise():
    async def story(hub, _clock, wire):
        await wire.log_in()
        for _ in range(25):
            insert(hub)
        good(await wire.ask("command/subscribe", timestamp=START))
        for _ in range(20):
            await wire.frame()
        good(await wire.ask("command/subscribe", timestamp=START, limit=100))
        for _ in range(25):
            await wire.frame()
        await wire.quiet()

    run_wire(story)


@pytest.mark.parametrize(
    ("wanted", "comes"),
    [
        ({}, True),
        ({"deviceId": "d"}, True),
        ({"deviceId": "e"}, False),
        ({"names": ["off", "on"]}, True),
        ({"names": ["off"]}, False),
        ({"networkIds": [1]}, True),
        ({"networkIds": ["2"]}, False),
        ({"deviceTypeIds": [1], "networkIds": [2, 1]}, True),
        ({"deviceTypeIds": [2]}, False),
        # Where a device is named, network and type are not looked at.
        ({"deviceId": "d", "networkIds": [2], "deviceTypeIds": [2]}, True),
        ({"networkIds": [], "deviceTypeIds": None}, True),
    ],
)
def test_which_subscription_gets_which_command(wanted, comes):
    async def story(hub, _clock, wire):
        hub.store.networks[2] = hub.store.types[2] = "second"
        hub.store.save_device("e", name="e", data=None, network=1, type=1)
        await wire.log_in()
        good(await wire.ask("command/subscribe", **wanted))
        insert(hub)
        if comes:
            assert (await wire.frame())["command"]["command"] == "on"
        good(await wire.ask("command/subscribe", timestamp=START, **wanted))
        if comes:
            assert (await wire.frame())["command"]["command"] == "on"
        await wire.quiet()

    run_wire(story)


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        ({"deviceId": "x"}, (404, "Device with such deviceId = x not found")),
        ({"deviceId": ""}, (400, "Device id is wrong or empty")),
        ({"networkIds": [9]}, (403, "Networks with such networkIds wasn't found: {[9]}")),
        (
            {"deviceTypeIds": [9]},
            (403, "Device types with such deviceTypeIds wasn't found: {[9]}"),
        ),
        ({"names": []}, (403, "No access to any device type or network")),
        ({"names": "on"}, (400, "Invalid request parameters")),
        ({"names": [1]}, (400, "Invalid request parameters")),
        ({"networkIds": "1"}, (400, "Invalid request parameters")),
        ({"timestamp": "soon"}, (400, "Invalid request parameters")),
        ({"limit": -1}, (400, "Limit can't be less than 0.")),
    ],
)
def test_subscribe_refusals(wanted, refusal):
    async def story(hub, _clock, wire):
        assert error(await wire.ask("command/subscribe", **wanted)) == (401, "Unauthorized")
        await wire.log_in()
        assert error(await wire.ask("command/subscribe", **wanted)) == refusal
        assert good(await wire.ask("subscription/list"))["subscriptions"] == []
        insert(hub)
        await wire.quiet()

    run_wire(story)


def test_a_user_gets_the_commands_of_his_own_networks_only():
    async def story(hub, _clock, wire):
        hub.store.networks[2] = "second"
        hub.store.save_device("e", name="e", data=None, network=2, type=1)
        hub.store.add_user("guest", "guest", admin=False, networks={2}, types={1})
        await wire.log_in("guest", "guest")
        good(await wire.ask("command/subscribe"))
        insert(hub)
        insert(hub, "off", "e")
        assert (await wire.frame())["command"]["command"] == "off"
        refused = await wire.ask("command/subscribe", networkIds=[1])
        assert error(refused)[0] == 403
        denied = await wire.ask("command/subscribe", deviceId="d")
        assert error(denied) == (403, "Access is denied")
        hub.store.users["guest"].networks = set()
        await wire.log_in("guest", "guest")
        nothing = await wire.ask("command/subscribe")
        assert error(nothing) == (403, "No access to any device type or network")

    run_wire(story)


def test_unsubscribe_ends_one_or_all():
    async def story(hub, _clock, wire):
        await wire.log_in()
        ids = [good(await wire.ask("command/subscribe"))["subscriptionId"] for _ in range(3)]
        notes = good(await wire.ask("notification/subscribe"))["subscriptionId"]
        for action, number in (("command", notes), ("notification", ids[0]), ("command", 5)):
            answer = await wire.ask(f"{action}/unsubscribe", subscriptionId=number)
            assert error(answer) == (404, f"Subscription with id {number} was not found")
        good(await wire.ask("command/unsubscribe", subscriptionId=ids[0]))
        insert(hub)
        assert {(await wire.frame())["subscriptionId"] for _ in range(2)} == set(ids[1:])
        good(await wire.ask("command/unsubscribe"))
        insert(hub)
        shown = good(await wire.ask("subscription/list"))["subscriptions"]
        assert [(one["subscriptionId"], one["type"]) for one in shown] == [(notes, "notification")]
        good(await wire.ask("notification/unsubscribe"))
        assert good(await wire.ask("subscription/list"))["subscriptions"] == []

    run_wire(story)


def test_subscription_list_shows_what_was_asked_for():
    async def story(_hub, _clock, wire):
        await wire.log_in()
        number = good(await wire.ask("command/subscribe", deviceId="d", names=["on"]))
        (shown,) = good(await wire.ask("subscription/list", type="command"))["subscriptions"]
        assert shown == {
            "subscriptionId": number["subscriptionId"],
            "type": "command",
            "deviceId": "d",
            "networkIds": None,
            "deviceTypeIds": None,
            "names": ["on"],
            "timestamp": None,
        }

    run_wire(story)


def test_a_deleted_device_takes_its_subscriptions_along():
    async def story(hub, _clock, wire):
        await wire.log_in()
        good(await wire.ask("command/subscribe", deviceId="d"))
        good(await wire.ask("device/delete", deviceId="d"))
        good(await wire.ask("device/save", deviceId="d", device={"name": "d"}))
        insert(hub)
        await wire.quiet()

    run_wire(story)


def test_subscriptions_of_one_session_have_an_end():
    async def story(_hub, _clock, wire):
        await wire.log_in()
        for _ in range(1000):
            good(await wire.ask("command/subscribe"))
        assert error(await wire.ask("command/subscribe"))[0] == 403

    run_wire(story)


def test_notifications_are_pushed_caught_up_with_and_read():
    async def story(hub, clock, wire):
        await wire.log_in()
        body = {"notification": "temp", "parameters": 5}
        first = good(await wire.ask("notification/insert", deviceId="d", notification=body))
        clock.now_s += 1
        number = good(
            await wire.ask("notification/subscribe", deviceId="d", timestamp=START, names=["temp"])
        )["subscriptionId"]
        push = await wire.frame()
        assert (push["action"], push["subscriptionId"]) == ("notification/insert", number)
        whole = {
            **first["notification"],
            "notification": "temp",
            "deviceId": "d",
            "networkId": 1,
            "deviceTypeId": 1,
            "parameters": 5,
        }
        assert push["notification"] == whole
        note = whole["id"]
        read = good(await wire.ask("notification/get", deviceId="d", notificationId=note))
        assert read["notification"] == whole
        for given, refusal in (
            ({"notificationId": note + 1}, (404, "Requested notification not found")),
            ({}, (400, "Notification id is wrong or empty")),
            ({"notificationId": "x"}, (400, "Notification id is wrong or empty")),
        ):
            assert error(await wire.ask("notification/get", deviceId="d", **given)) == refusal
        hub.store.insert_notification(hub.store.devices["d"], "humid", 1)
        hub.store.insert_notification(hub.store.devices["d"], "temp", 6)
        assert (await wire.frame())["notification"]["parameters"] == 6
        await wire.quiet()

    run_wire(story)


def test_each_connection_has_its_own_subscriptions():
    async def story(hub, _clock, wire):
        await wire.log_in()
        number = good(await wire.ask("command/subscribe"))["subscriptionId"]
        async with aiohttp.ClientSession() as http:
            other = await another(hub, http)
            answer = await other.ask("command/unsubscribe", subscriptionId=number)
            assert error(answer)[0] == 404
            good(await other.ask("command/unsubscribe"))
            insert(hub)
            await wire.frame()
            await other.quiet()

    run_wire(story)


def test_explicit_subscribe_over_mqtt_is_a_dead_end():
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe("dh/response/command/subscribe@board")
        await client.subscribe("dh/response/command/unsubscribe@board")
        refused = await client.ask("command/subscribe", deviceId="x")
        assert error(refused)[0] == 404
        request = {"action": "command/subscribe", "requestId": 1, "deviceId": "d"}
        client.send(publish("dh/request", request))
        insert(hub)
        # Neither the answer nor a push, although the server has the subscription.
        assert await client.quiet()
        assert len(good(await client.ask("subscription/list"))["subscriptions"]) == 1
        # Without a number it takes the broker's own subscriptions along.
        await client.subscribe("dh/command/+/+/d/#")
        insert(hub)
        await client.message()
        good(await client.ask("command/unsubscribe"))
        insert(hub)
        assert await client.quiet()

    run(story)


# Harm


def test_a_frame_over_the_limit_ends_the_connection():
    async def story(hub, _clock, wire):
        await wire.socket.send_str(json.dumps({"action": "x" * 990}))
        assert error(await wire.frame())[0] == 400
        await wire.socket.send_str(json.dumps({"action": "x" * 1000}))
        assert await wire.end() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        await until(lambda: not hub._web.sockets._peers)

    run_wire(story, frame_limit=1010)


def test_a_binary_frame_ends_the_connection():
    async def story(hub, _clock, wire):
        await wire.socket.send_bytes(b'{"action": "server/info"}')
        assert await wire.end() == aiohttp.WSCloseCode.UNSUPPORTED_DATA
        await until(lambda: not hub._web.sockets._peers)

    run_wire(story)


def test_a_client_that_does_not_read_is_closed_before_it_fills_the_memory():
    async def story(hub, _clock, wire):
        await wire.log_in()
        good(await wire.ask("command/subscribe"))
        async with aiohttp.ClientSession() as http:
            other = await another(hub, http)
            good(await other.ask("command/subscribe"))
            _pause(wire)
            (peer,) = (one for one in hub._web.sockets._peers if not _serves(one, other))
            sent, most = 0, 0
            while peer in hub._web.sockets._peers:
                insert(hub, parameters="x" * 50_000)
                sent += 50_000
                most = max(most, peer._waiting)
                assert sent < 100_000_000
                await other.frame()
            assert most < 500_000 + 51_000
        _resume(wire)

    run_wire(story, backlog_limit=500_000)


def _serves(peer, wire):
    mine = wire.socket._response.connection.transport.get_extra_info("sockname")
    return peer._transport.get_extra_info("peername") == mine


def test_a_client_that_asks_and_does_not_read_is_not_read_from():
    async def story(hub, _clock, wire):
        await wire.log_in()
        insert(hub, parameters="x" * 100_000)
        (peer,) = hub._web.sockets._peers
        _pause(wire)
        for _ in range(_TOO_MANY):
            await wire.socket.send_json({"action": "command/list", "deviceId": "d"})
        await until(peer._transport.get_write_buffer_size)
        # One answer waits, and no second one is made until it is gone.
        for _ in range(1000):
            await asyncio.sleep(0)
            assert peer._waiting < 200_000
        _resume(wire)
        for _ in range(_TOO_MANY):
            good(await wire.frame())

    run_wire(story, backlog_limit=200_000)


# Answers of 100 KB, more than the system's own buffers take.
_TOO_MANY = 300


def _pause(wire):
    wire.socket._response.connection.transport.pause_reading()


def _resume(wire):
    wire.socket._response.connection.transport.resume_reading()


def test_a_client_that_vanishes_leaves_nothing_behind():
    async def story(hub, _clock, wire):
        await wire.log_in()
        good(await wire.ask("command/subscribe"))
        wire.socket._response.connection.transport.abort()
        await until(lambda: not hub._web.sockets._peers)
        insert(hub)

    run_wire(story)


def test_stop_closes_each_connection_and_says_so():
    async def story(hub, _clock, wire):
        await wire.log_in()
        ends = asyncio.create_task(wire.end())
        await asyncio.wait_for(hub.stop(), PATIENCE_S)
        assert await ends == aiohttp.WSCloseCode.GOING_AWAY
        assert not hub._web.sockets._peers
        await hub.start()
        async with aiohttp.ClientSession() as http:
            await another(hub, http)

    run_wire(story)


def test_stop_does_not_wait_for_a_client_that_reads_nothing():
    async def story(hub, _clock, wire):
        await wire.log_in()
        good(await wire.ask("command/subscribe"))
        (peer,) = hub._web.sockets._peers
        _pause(wire)
        while not peer._transport.get_write_buffer_size():
            insert(hub, parameters="x" * 200_000)
            await asyncio.sleep(0)
        await asyncio.wait_for(hub.stop(), PATIENCE_S)
        assert not hub._web.sockets._peers
        _resume(wire)
        await hub.start()

    run_wire(story, backlog_limit=2**25)


def test_a_request_that_is_no_upgrade_is_an_error_of_rest():
    async def story(hub, _clock):
        async with (
            aiohttp.ClientSession() as http,
            http.get(hub.websocket.replace("ws", "http", 1)) as response,
        ):
            assert (response.status, (await response.json())["error"]) == (400, 400)

    run(story)
