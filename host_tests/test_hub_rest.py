"""The hub's REST API."""

import asyncio

import pytest

from host_tests.hub_kit import KEYS, START, device, good, run_person, until


def test_rest_from_registration_to_outcome():
    async def story(hub, clock, person):
        assert await person.ask("PUT", "/device/d", {"name": "Board"}) == (204, None)
        whole = {
            "id": "d",
            "name": "Board",
            "data": None,
            "networkId": 1,
            "deviceTypeId": 1,
            "isBlocked": False,
        }
        assert await person.ask("GET", "/device/d") == (200, whole)
        assert await person.ask("GET", "/device") == (200, [whole])
        status, sent = await person.ask("POST", "/device/d/command", {"command": "on"})
        assert status == 201
        assert sent == {"id": sent["id"], "timestamp": START, "lastUpdated": START, "userId": 1}
        path = f"/device/d/command/{sent['id']}"
        status, command = await person.ask("GET", path)
        assert (status, set(command)) == (200, KEYS)
        assert await person.ask("GET", "/device/d/command") == (200, [command])
        assert await person.ask("GET", "/device/d/command", command="off") == (200, [])
        assert await person.ask("PUT", path, {"status": "done", "result": {"n": 1}}) == (204, None)
        command |= {"status": "done", "result": {"n": 1}}
        assert await person.ask("GET", path + "/poll") == (200, command)
        clock.now_s += 120
        refusal = {"error": 404, "message": f"Command with id = {sent['id']} not found"}
        assert await person.ask("PUT", path, {"status": "late"}) == (404, refusal)
        assert await person.ask("GET", path) == (404, refusal)
        assert await person.ask("GET", path + "/poll") == (204, None)
        assert await person.ask("DELETE", "/device/d") == (204, None)
        assert (await person.ask("GET", "/device/d"))[0] == 404

    run_person(story)


def test_rest_and_mqtt_meet():
    async def story(hub, _clock, person):
        client = await device(hub)
        await client.subscribe("dh/command/+/+/d/#")
        _status, sent = await person.ask("POST", "/device/d/command", {"command": "on"})
        path = f"/device/d/command/{sent['id']}/poll"
        assert await person.ask("GET", path, waitTimeout=0) == (204, None)
        waits = [asyncio.create_task(person.ask("GET", path)) for _ in range(2)]
        await until(lambda: len(hub._web.polls.waiting) == 2)
        _topic, push = await client.message()
        good(
            await client.ask(
                "command/update",
                deviceId="d",
                commandId=push["command"]["id"],
                command={"status": "succeeded"},
            )
        )
        for wait in waits:
            status, command = await wait
            assert (status, command["status"]) == (200, "succeeded")
        assert hub._web.polls.waiting == []
        good(
            await client.ask(
                "notification/insert",
                deviceId="d",
                notification={"notification": "temp", "parameters": 5},
            )
        )
        status, kept = await person.ask("GET", "/device/d/notification")
        assert (status, [(one["notification"], one["parameters"]) for one in kept]) == (
            200,
            [("temp", 5)],
        )

    run_person(story)


def test_rest_info_needs_no_token():
    async def story(hub, _clock, person):
        person.token = None
        assert await person.ask("GET", "/info") == (
            200,
            {"apiVersion": "4.1.0", "serverTimestamp": START, "webSocketServerUrl": hub.websocket},
        )

    run_person(story)


def test_rest_tokens():
    async def story(hub, clock, person):
        tokens = await person.log_in()
        access = {"error": 401, "message": "Token expired"}
        clock.now_s += 1800
        assert await person.ask("GET", "/device") == (401, access)
        status, fresh = await person.ask(
            "POST", "/token/refresh", {"refreshToken": tokens["refreshToken"]}
        )
        assert (status, set(fresh)) == (201, {"accessToken"})
        person.token = fresh["accessToken"]
        status, made = await person.ask(
            "POST", "/token/create", {"userId": 1, "actions": ["GetDevice"]}
        )
        assert (status, set(made)) == (201, {"accessToken", "refreshToken"})
        person.token = made["accessToken"]
        assert await person.ask("GET", "/device") == (200, [])
        denied = 403, {"error": 403, "message": "Access is denied"}
        assert await person.ask("PUT", "/device/d", {"name": "d"}) == denied
        assert await person.ask("POST", "/device/d/command", {"command": "on"}) == denied
        assert await person.ask("GET", "/device/d/command") == denied
        assert await person.ask("GET", "/device/d/command/1/poll") == denied
        assert await person.ask("PUT", "/device/d/command/1", {"status": "x"}) == denied
        assert await person.ask("POST", "/token/create", {"userId": 1}) == denied
        person.token = tokens["refreshToken"]
        assert await person.ask("GET", "/device") == (
            401,
            {"error": 401, "message": "Invalid credentials"},
        )

    run_person(story)


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "message"),
    [
        ("POST", "/token", {"login": "heed", "password": "x"}, 401, "Invalid credentials"),
        ("POST", "/token", b"{", 400, "Malformed Json received."),
        ("POST", "/token", b"[]", 400, "Malformed Json received."),
        ("POST", "/token", b"x" * (2**20 + 1), 413, None),
        ("PUT", "/device/d", b"", 400, "Malformed Json received."),
        ("GET", "/device/x", None, 404, "Device with such deviceId = x not found"),
        (
            "POST",
            "/device/x/command",
            {"command": "on"},
            404,
            "Device with such deviceId = x not found",
        ),
        ("GET", "/device/d/command/x", None, 400, "Command id is wrong or empty"),
        ("GET", "/device/d/command/1/poll?waitTimeout=61", None, 400, None),
        ("GET", "/device/d/command?take=x", None, 400, "Invalid request parameters"),
        ("GET", "/nowhere", None, 404, "Not Found"),
        ("POST", "/info", None, 405, "Method Not Allowed"),
    ],
)
def test_rest_errors(method, path, body, code, message):
    async def story(hub, _clock, person):
        await person.ask("PUT", "/device/d", {"name": "d"})
        status, answer = await person.ask(method, path, body)
        assert (status, answer["error"]) == (code, code)
        assert message in (None, answer["message"])

    run_person(story)


def test_rest_without_token_is_401():
    async def story(hub, _clock, person):
        for token in (None, "nonsense"):
            person.token = token
            status, answer = await person.ask("GET", "/device")
            assert (status, answer["error"]) == (401, 401)
            assert answer["message"] == ("Invalid credentials" if token else "Unauthorized")

    run_person(story)
