"""What the tests of the hub share: a hub with a clock that stands still, a device, a person."""

import asyncio
import json

import aiohttp

from host_tests.mqtt_client import PATIENCE_S, Client
from tools.hub.hub import Hub

START_S = 1_800_000_000.0
START = "2027-01-15T08:00:00.000"
KEYS = {
    "id",
    "command",
    "timestamp",
    "lastUpdated",
    "userId",
    "deviceId",
    "networkId",
    "deviceTypeId",
    "parameters",
    "lifetime",
    "status",
    "result",
}


class Clock:
    """The hub's clock, which stands still until a test moves it."""

    def __init__(self):
        self.now_s = START_S

    def __call__(self):
        return self.now_s


def run(story, **options):
    """Run `story(hub, clock)` against a hub of its own."""

    async def go():
        clock = Clock()
        async with Hub(clock=clock, **options) as hub:
            await asyncio.wait_for(story(hub, clock), 30)

    asyncio.run(go())


async def device(hub, client_id="board", device_id="d"):
    """A client that is logged in and whose device is registered."""
    client = await Client.dial(hub, client_id)
    assert await client.connect() == 0
    answer = await client.ask("device/save", deviceId=device_id, device={"name": device_id})
    assert answer == {"action": "device/save", "requestId": 7, "status": "success"}
    return client


async def until(condition):
    """Wait, within a bound, until the condition holds."""
    for _ in range(PATIENCE_S * 1000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came about")


class Person:
    """A person with the REST API."""

    def __init__(self, hub, http, token=None):
        self._hub, self._http, self.token = hub, http, token

    async def ask(self, method, path, body=None, **query):
        """(status, JSON or None) of one request."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
        async with self._http.request(
            method, self._hub.rest + path, data=data, params=query, headers=headers
        ) as response:
            data = await response.read()
            return response.status, json.loads(data) if data else None

    async def log_in(self):
        status, tokens = await self.ask("POST", "/token", {"login": "heed", "password": "heed"})
        assert status == 201
        self.token = tokens["accessToken"]
        return tokens


def run_person(story, **options):
    """Run `story(hub, clock, person)`, the person logged in."""

    async def go(hub, clock):
        async with aiohttp.ClientSession() as http:
            person = Person(hub, http)
            await person.log_in()
            await story(hub, clock, person)

    run(go, **options)


def error(answer):
    """(code, text) of an answer that is a refusal."""
    assert answer["status"] == "error", answer
    return answer["code"], answer["error"]


def good(answer):
    """The answer, if it is a success."""
    assert answer["status"] == "success", answer
    return answer


def will(name):
    """A last will that leaves a notification of that name with device `d`."""
    return "dh/request", json.dumps(
        {"action": "notification/insert", "deviceId": "d", "notification": {"notification": name}}
    )


async def told(hub, *names):
    """Wait until the device's notifications are these."""
    kept = hub.store.devices["d"].notifications
    await until(lambda: [one.name for one in kept] == list(names))
