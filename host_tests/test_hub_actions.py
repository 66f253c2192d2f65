"""The hub's actions on devices, commands and notifications."""

import pytest

from host_tests.hub_kit import KEYS, START, device, error, good, run
from host_tests.mqtt_client import Client, publish


def test_device_save_and_get():
    async def story(hub, _clock):
        client = await device(hub)
        good(
            await client.ask(
                "device/save",
                deviceId="d",
                device={"name": "Board", "data": {"a": 1}, "isBlocked": True},
            )
        )
        found = good(await client.ask("device/get", deviceId="d"))["device"]
        assert found == {
            "id": "d",
            "name": "Board",
            "data": {"a": 1},
            "networkId": 1,
            "deviceTypeId": 1,
            "isBlocked": True,
        }
        good(await client.ask("device/save", deviceId="d", device={}))
        found = good(await client.ask("device/get", deviceId="d"))["device"]
        assert found == {
            "id": "d",
            "name": "Board",
            "data": None,
            "networkId": 1,
            "deviceTypeId": 1,
            "isBlocked": True,
        }

    run(story)


@pytest.mark.parametrize(
    ("request_fields", "refusal"),
    [
        ({}, (400, "Device id is wrong or empty")),
        ({"deviceId": "", "device": {"name": "n"}}, (400, "Device id is wrong or empty")),
        (
            {"deviceId": "a_b", "device": {"name": "n"}},
            (400, "Device Id can only contain letters, digits and dashes."),
        ),
        (
            {"deviceId": "a" * 49, "device": {"name": "n"}},
            (400, "Device id is longer than 48 characters"),
        ),
        ({"deviceId": "a", "device": {}}, (400, "Invalid request parameters")),
        ({"deviceId": "a", "device": {"name": "n" * 129}}, (400, "Invalid request parameters")),
        (
            {"deviceId": "a", "device": {"name": "n", "networkId": 9}},
            (400, "Invalid request parameters"),
        ),
        ({"deviceId": "a", "device": "n"}, (400, "Invalid request parameters")),
    ],
)
def test_device_save_refusals(request_fields, refusal):
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect()
        assert error(await client.ask("device/save", **request_fields)) == refusal
        assert hub.store.devices == {}

    run(story)


def test_unknown_device_is_404_to_an_administrator_and_403_to_others():
    async def story(hub, _clock):
        hub.store.add_user("guest", "guest", admin=False)
        for user, refusal in (
            ("heed", (404, "Device with such deviceId = x not found")),
            ("guest", (403, "Access is denied")),
        ):
            client = await Client.dial(hub, user)
            assert await client.connect(user, user) == 0
            assert error(await client.ask("device/get", deviceId="x")) == refusal
            assert await client.subscribe("dh/command/+/+/x/#") == [0x80]

    run(story)


def test_deleted_device_drops_its_subscriptions_until_subscribed_anew():
    async def story(hub, _clock):
        client = await device(hub)
        topic = "dh/command/+/+/d/#"
        assert await client.subscribe(topic) == [0]
        good(await client.ask("device/delete", deviceId="d"))
        good(await client.ask("device/save", deviceId="d", device={"name": "d"}))
        assert await client.subscribe(topic) == [0]
        hub.store.insert_command(hub.store.devices["d"], 1, "lost")
        assert await client.quiet()
        await client.unsubscribe(topic)
        assert await client.subscribe(topic) == [0]
        hub.store.insert_command(hub.store.devices["d"], 1, "found")
        assert (await client.message())[0] == "dh/command/1/1/d/found"

    run(story)


# Commands


def test_command_from_insert_to_update():
    async def story(hub, clock):
        client = await device(hub)
        assert await client.subscribe("dh/command/+/+/d/#", "dh/command_update/+/+/d/#") == [0, 0]
        watcher = await Client.dial(hub, "watcher")
        await watcher.connect()
        sent = good(
            await watcher.ask(
                "command/insert",
                deviceId="d",
                command={"command": "on", "parameters": [1, {"x": None}], "lifetime": -3},
            )
        )["command"]
        assert sent == {"id": sent["id"], "timestamp": START, "lastUpdated": START, "userId": 1}
        topic, push = await client.message()
        assert topic == "dh/command/1/1/d/on"
        assert set(push) == {"action", "command", "subscriptionId"}
        assert push["action"] == "command/insert"
        whole = {
            "id": sent["id"],
            "command": "on",
            "timestamp": START,
            "lastUpdated": START,
            "userId": 1,
            "deviceId": "d",
            "networkId": 1,
            "deviceTypeId": 1,
            "parameters": [1, {"x": None}],
            "lifetime": -3,
            "status": None,
            "result": None,
        }
        assert push["command"] == whole
        clock.now_s += 1.5
        await client.subscribe("dh/response/command/update@board")
        client.send(
            publish(
                "dh/request",
                {
                    "action": "command/update",
                    "requestId": [1],
                    "deviceId": "d",
                    "commandId": str(sent["id"]),
                    "command": {"status": "done", "result": "text"},
                },
            )
        )
        whole |= {"status": "done", "result": "text", "lastUpdated": "2027-01-15T08:00:01.500"}
        topic, push = await client.message()
        assert (topic, push["action"]) == ("dh/command_update/1/1/d/on", "command/update")
        assert push["command"] == whole
        assert await client.message() == (
            "dh/response/command/update@board",
            {"action": "command/update", "requestId": [1], "status": "success"},
        )
        got = good(await client.ask("command/get", deviceId="d", commandId=sent["id"]))
        assert got["command"] == whole
        good(
            await client.ask(
                "command/update",
                deviceId="d",
                commandId=sent["id"],
                command={"status": None, "result": False},
            )
        )
        got = good(await client.ask("command/get", deviceId="d", commandId=sent["id"]))
        assert (got["command"]["status"], got["command"]["result"]) == ("done", False)

    run(story)


def test_command_keeps_the_callers_timestamp_status_and_odd_values():
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe("dh/command/#")
        for given, shown in (
            ("2020-02-29T01:02:03.004", "2020-02-29T01:02:03.004"),
            ("2020-02-29T01:02:03+01:00", "2020-02-29T00:02:03.000"),
            (0, "1970-01-01T00:00:00.000"),
            (None, START),
        ):
            good(
                await client.ask(
                    "command/insert",
                    deviceId="d",
                    command={
                        "command": "on",
                        "timestamp": given,
                        "status": "old",
                        "result": 0,
                        "lifetime": 1.5,
                    },
                )
            )
            # The push came before the answer.
            _topic, push = await client.message()
            command = push["command"]
            assert set(command) == KEYS
            assert (command["timestamp"], command["lastUpdated"]) == (shown, shown)
            assert (command["status"], command["result"], command["lifetime"]) == ("old", 0, 1.5)

    run(story)


def test_command_refusals():
    async def story(hub, _clock):
        client = await device(hub)
        answer = await client.ask("command/insert", deviceId="d", command={"timestamp": "soon"})
        assert error(answer) == (400, "Invalid request parameters")
        for name in ("", "n" * 129, 5):
            answer = await client.ask("command/insert", deviceId="d", command={"command": name})
            assert error(answer)[0] == 400
        answer = await client.ask("command/get", deviceId="d", commandId=5)
        assert error(answer) == (404, "Command with id = 5 not found")
        for wrong in (None, "five", True, {}):
            answer = await client.ask("command/get", deviceId="d", commandId=wrong)
            assert error(answer) == (400, "Command id is wrong or empty")
        answer = await client.ask("command/fly", deviceId="d")
        assert error(answer) == (400, "Illegal argument: command/fly")
        for fields in ({"take": "x"}, {"start": "x"}, {"sortField": "colour"}):
            assert error(await client.ask("command/list", deviceId="d", **fields))[0] == 400

    run(story)


def test_commands_are_kept_120_s_and_an_update_renews_it():
    async def story(hub, clock):
        client = await device(hub)
        ids = [hub.store.insert_command(hub.store.devices["d"], 1, str(n)).id for n in range(2)]
        clock.now_s += 119
        good(
            await client.ask(
                "command/update", deviceId="d", commandId=ids[0], command={"status": "x"}
            )
        )
        assert len(good(await client.ask("command/list", deviceId="d"))["commands"]) == 2
        clock.now_s += 1
        listed = good(await client.ask("command/list", deviceId="d"))["commands"]
        assert [one["id"] for one in listed] == [ids[0]]
        client.send(
            publish(
                "dh/request",
                {"action": "command/update", "deviceId": "d", "commandId": ids[1], "command": {}},
            )
        )
        assert await client.quiet()
        clock.now_s += 119
        assert good(await client.ask("command/list", deviceId="d"))["commands"] == []

    run(story)


def test_command_list_filters_and_order():
    async def story(hub, clock):
        client = await device(hub)
        for n in range(25):
            status = "odd" if n % 2 else None
            hub.store.insert_command(hub.store.devices["d"], 1, f"c{n % 3}", status=status)
            clock.now_s += 1

        async def names(**fields):
            found = good(await client.ask("command/list", deviceId="d", **fields))["commands"]
            return [one["timestamp"][-6:-4] + one["command"] for one in found]

        assert len(await names()) == 20
        assert len(await names(take=1000)) == 25
        assert await names(start="2027-01-15T08:00:23.000") == ["23c2", "24c0"]
        assert await names(end="2027-01-15T08:00:01") == ["00c0", "01c1"]
        assert await names(command="c1", status="odd", take=2) == ["01c1", "07c1"]
        assert await names(skip=23, sortField="timestamp", sortOrder="DESC") == ["24c0", "23c2"]
        # The part is cut out before it is sorted.
        assert await names(take=3, sortField="command", sortOrder="DESC") == [
            "02c2",
            "01c1",
            "00c0",
        ]

    run(story)
