"""Who gets into the hub, and what a token lets one do."""

import pytest

from host_tests.hub_kit import START_S, device, error, good, run, run_person
from host_tests.mqtt_client import Client, publish


def test_password_lets_in_and_opens_every_dh_topic():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        assert await client.connect() == 0
        codes = await client.subscribe("dh/response/command/update@c1", "dh/command/#", qos=1)
        assert codes == [1, 1]
        assert await client.subscribe("dh", "dh/request") == [0x80, 0x80]

    run(story)


def test_wrong_password_gets_connack_4_and_ten_of_them_lock_the_account():
    async def story(hub, _clock):
        token = hub.tokens.pair(hub.store.users["heed"])["accessToken"]
        for _ in range(10):
            client = await Client.dial(hub)
            assert await client.connect(password="wrong") == 4
            await client.closed()
        client = await Client.dial(hub)
        assert await client.connect() == 4
        client = await Client.dial(hub, "c2")
        assert await client.connect(None, None) == 0
        answer = await client.ask("token", login="heed", password="heed")
        assert error(answer) == (401, "User is locked or disabled")
        answer = await client.ask("authenticate", token=token)
        assert error(answer) == (401, "Invalid credentials")

    run(story)


def test_right_password_in_time_forgets_the_wrong_ones():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect(None, None)
        for _ in range(2):
            for _ in range(9):
                answer = await client.ask("token", login="heed", password="x")
                assert error(answer) == (401, "Invalid credentials")
            good(await client.ask("token", login="heed", password="heed"))
        answer = await client.ask("token", login="who", password="x")
        assert error(answer) == (401, "User with login = who not found or bad password")

    run(story)


def test_anonymous_may_only_hear_the_four_answers_until_it_authenticates():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        assert await client.connect(None, None) == 0
        own = [
            f"dh/response/{a}@c1"
            for a in ("authenticate", "token", "token/refresh", "token/create")
        ]
        assert await client.subscribe(*own) == [0] * 4
        others = [
            "dh/response/token@c2",
            "dh/response/server/info@c1",
            "dh/command/#",
            "dh/#",
            "dh/response/#",
        ]
        assert await client.subscribe(*others) == [0x80] * 5
        tokens = good(await client.ask("token", login="heed", password="heed"))
        good(await client.ask("authenticate", token=tokens["accessToken"]))
        assert await client.subscribe("dh/command/#") == [0]
        good(await client.ask("server/info"))

    run(story)


def test_user_name_without_password_is_anonymous():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        assert await client.connect("heed", None) == 0
        assert await client.subscribe("dh/command/#") == [0x80]

    run(story)


@pytest.mark.parametrize(
    ("level", "name", "code"),
    [
        (5, "MQTT", 1),
        (2, "MQTT", 1),
        (3, "MQIsdp", 0),
        (4, "MQTT", 0),
    ],
)
def test_protocol_level(level, name, code):
    async def story(hub, _clock):
        client = await Client.dial(hub)
        assert await client.connect(level=level, name=name) == code
        if code:
            await client.closed()

    run(story)


def test_client_ids_that_may_not_be():
    async def story(hub, _clock):
        client = await Client.dial(hub, "x" * 24)
        assert await client.connect(level=3, name="MQIsdp") == 2
        client = await Client.dial(hub, "")
        assert await client.connect(clean=False) == 2
        client = await Client.dial(hub, "")
        assert await client.connect() == 0

    run(story)


def test_live_client_id_is_not_taken_over():
    async def story(hub, _clock):
        first = await Client.dial(hub, "same")
        assert await first.connect() == 0
        second = await Client.dial(hub, "same")
        assert await second.connect() == 5
        await second.closed()
        good(await first.ask("server/info"))
        first.close()
        code = 5
        while code == 5:
            third = await Client.dial(hub, "same")
            code = await third.connect()
        assert code == 0

    run(story)


# Tokens


def test_expired_and_wrong_tokens_are_refused_and_an_earlier_login_stays():
    async def story(hub, clock):
        client = await Client.dial(hub)
        await client.connect(None, None)
        tokens = good(await client.ask("token", login="heed", password="heed"))
        access, refresh = tokens["accessToken"], tokens["refreshToken"]
        good(await client.ask("authenticate", token=access))
        for token in (refresh, access[:-3] + "abc", "nonsense", 5, "\u00e9"):
            answer = await client.ask("authenticate", token=token)
            assert error(answer) == (401, "Invalid credentials")
        assert error(await client.ask("authenticate")) == (401, "Unauthorized")
        clock.now_s += 30 * 60
        assert error(await client.ask("authenticate", token=access)) == (401, "Token expired")
        # A connection outlives its token.
        good(await client.ask("device/save", deviceId="d", device={"name": "d"}))
        fresh = good(await client.ask("token/refresh", refreshToken=refresh))
        assert set(fresh) == {"action", "requestId", "status", "accessToken"}
        good(await client.ask("authenticate", token=fresh["accessToken"]))
        answer = await client.ask("token/refresh", refreshToken=access)
        assert error(answer) == (401, "Invalid token type")
        clock.now_s += 182 * 24 * 3600
        answer = await client.ask("token/refresh", refreshToken=refresh)
        assert error(answer) == (401, "Token has expired")

    run(story)


def test_token_body_is_devicehives():
    async def story(hub, _clock, person):
        import jwt

        tokens = await person.log_in()
        now_ms = int(START_S * 1000)
        for key, kind, age in (("accessToken", 1, 1_800_000), ("refreshToken", 0, 15_724_800_000)):
            assert jwt.get_unverified_header(tokens[key])["alg"] == "HS256"
            body = jwt.decode(tokens[key], options={"verify_signature": False})
            assert body == {
                "payload": {
                    "u": 1,
                    "a": [0],
                    "n": ["*"],
                    "dt": ["*"],
                    "e": now_ms + age,
                    "t": kind,
                }
            }

    run_person(story)


async def restricted(client, *actions, **fields):
    payload = {"userId": 1, "actions": list(actions), **fields}
    created = good(await client.ask("token/create", payload=payload))
    good(await client.ask("authenticate", token=created["accessToken"]))


REQUESTS = {
    "device/save": ("RegisterDevice", {"device": {"name": "d"}}),
    "device/get": ("GetDevice", {}),
    "device/list": ("GetDevice", {}),
    "command/insert": ("CreateDeviceCommand", {"command": {"command": "on"}}),
    "command/list": ("GetDeviceCommand", {}),
    "command/get": ("GetDeviceCommand", {"commandId": 1}),
    "command/update": ("UpdateDeviceCommand", {"commandId": 1, "command": {"status": "x"}}),
    "notification/insert": ("CreateDeviceNotification", {"notification": {"notification": "n"}}),
    "notification/list": ("GetDeviceNotification", {}),
    "subscription/list": ("GetDeviceCommand", {}),
    "token/create": ("ManageToken", {"payload": {"userId": 1}}),
    "device/delete": ("RegisterDevice", {}),
}


@pytest.mark.parametrize("action", REQUESTS)
def test_actions_bind(action):
    needed, request = REQUESTS[action]
    others = {right for right, _ in REQUESTS.values()} - {needed}

    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect(None, None)
        await client.subscribe(f"dh/response/{action}@c1")
        tokens = good(await client.ask("token", login="heed", password="heed"))
        good(await client.ask("authenticate", token=tokens["accessToken"]))
        good(await client.ask("device/save", deviceId="d", device={"name": "d"}))
        # What the right would have led to is 404 for the command that never was.
        hub.store.command = lambda *_: None
        enough = good(await client.ask("token/create", payload={"userId": 1, "actions": [needed]}))
        await restricted(client, *others)
        answer = await client.ask(action, deviceId="d", **request)
        assert error(answer) == (403, "Access is denied")
        good(await client.ask("authenticate", token=enough["accessToken"]))
        if action == "command/update":
            client.send(publish("dh/request", {"action": action, "deviceId": "d", **request}))
            assert await client.quiet()
        elif action == "command/get":
            assert error(await client.ask(action, deviceId="d", **request))[0] == 404
        else:
            good(await client.ask(action, deviceId="d", **request))

    run(story)


def test_actions_bind_subscriptions():
    async def story(hub, _clock):
        client = await device(hub)
        await restricted(client, "GetDeviceNotification", "ManageToken")
        filters = "dh/command/#", "dh/command_update/+/+/d/#", "dh/notification/+/+/d/#"
        assert await client.subscribe(*filters) == [0x80, 0x80, 0]
        await restricted(client, "GetDeviceCommand")
        assert await client.subscribe(*filters[:2], "dh/notification/#") == [0, 0, 0x80]

    run(story)


def test_nothing_is_done_before_login():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect(None, None)
        save = {"action": "device/save", "deviceId": "d", "device": {"name": "d"}}
        client.send(publish("dh/request", save))
        answer = await client.ask("token/create", payload={"userId": 1})
        assert error(answer) == (401, "Unauthorized")
        assert hub.store.devices == {}

    run(story)


def test_networks_and_types_of_a_token_bind():
    async def story(hub, _clock):
        hub.store.networks[2] = "second"
        client = await device(hub)
        good(await client.ask("device/save", deviceId="e", device={"name": "e", "networkId": 2}))
        await restricted(client, "*", networkIds=[2], expiration="2027-01-15T09:00:00")
        assert error(await client.ask("device/get", deviceId="d")) == (403, "Access is denied")
        good(await client.ask("device/get", deviceId="e"))
        good(await client.ask("device/save", deviceId="e", device={"name": "again"}))
        listed = good(await client.ask("device/list"))["devices"]
        assert [one["name"] for one in listed] == ["again"]
        answer = await client.ask("device/save", deviceId="d", device={"name": "mine"})
        assert error(answer) == (403, "No access to device")
        answer = await client.ask(
            "device/save", deviceId="f", device={"name": "f", "networkId": 1}
        )
        assert error(answer) == (403, "No access to network!")
        assert await client.subscribe("dh/command/+/+/d/#", "dh/command/#") == [0x80, 0]
        for name in ("d", "e"):
            hub.store.insert_command(hub.store.devices[name], 1, "on")
        assert (await client.message())[0] == "dh/command/2/1/e/on"
        assert await client.quiet()

    run(story)


def test_token_create_refuses_what_it_does_not_know():
    async def story(hub, _clock):
        client = await device(hub)
        for payload, code in (
            ({"userId": 9}, 404),
            ({}, 400),
            ({"userId": True}, 400),
            ({"userId": 1, "actions": ["Fly"]}, 400),
            ({"userId": 1, "actions": [False]}, 400),
            ({"userId": 1, "actions": "*"}, 400),
            ({"userId": 1, "networkIds": [None]}, 400),
            ({"userId": 1, "expiration": "soon"}, 400),
        ):
            assert error(await client.ask("token/create", payload=payload))[0] == code, payload

    run(story)
