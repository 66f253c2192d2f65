"""`send` against a small server that speaks DeviceHive's REST API."""

import argparse
import asyncio
import json
import socket

import pytest
from aiohttp import web

from host_tests.mosquitto import free_port
from tools import send
from tools.report import Problem
from tools.rest import REST, Refused


class Cloud:
    """Knows one device, `d1`; its commands go through the statuses of a script, a poll each."""

    def __init__(self):
        self.inserted = []
        self.script = []
        self.polls = 0

    def app(self):
        app, device = web.Application(), "/api/rest/device/{device}"
        app.router.add_post("/api/rest/token", self.token)
        app.router.add_put(device, self.save)
        app.router.add_post(device + "/command", self.insert)
        app.router.add_get(device + "/command/{id}", self.get)
        app.router.add_get(device + "/command/{id}/poll", self.poll)
        return app

    async def token(self, request):
        body = await request.json()
        if body != {"login": "heed", "password": "heed"}:
            return error(401, "Invalid credentials")
        return web.json_response({"accessToken": "A", "refreshToken": "R"}, status=201)

    async def save(self, request):
        self.saved = (request.match_info["device"], await request.json())
        return web.Response(status=204)

    async def insert(self, request):
        if request.headers.get("Authorization") != "Bearer A":
            return error(401, "Unauthorized")
        if request.match_info["device"] != "d1":
            return error(404, "Device with such deviceId = d2 not found")
        self.inserted.append(await request.json())
        return web.json_response({"id": 7, "timestamp": "2026-01-01T00:00:00.000"}, status=201)

    async def get(self, request):
        return web.json_response({"id": int(request.match_info["id"]), "status": None})

    async def poll(self, request):
        self.polls += 1
        status = self.script.pop(0) if self.script else None
        if status is None:
            await asyncio.sleep(0.02)  # the server's side of a poll that brought nothing
            return web.Response(status=204)
        return web.json_response({"id": 7, "status": status, "result": {"blinked": 3}})


def error(status, message):
    return web.json_response({"error": status, "message": message}, status=status)


async def with_cloud(cloud, work):
    """Serves on a free port for as long as work(url) takes."""
    runner = web.AppRunner(cloud.app())
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        return await work("http://127.0.0.1:%d/api/rest" % listener.getsockname()[1])
    finally:
        await runner.cleanup()


def run_send(cloud, *words):
    """Runs the verb with these words; gives its exit code."""
    parser = argparse.ArgumentParser()
    send.add_arguments(parser)

    async def work(url):
        args = parser.parse_args(["--url", url, *words])
        return await send._send(args, send._parsed(args.parameters))

    return asyncio.run(with_cloud(cloud, work))


@pytest.fixture
def cloud(monkeypatch):
    for name in ("HEED_URL", "HEED_LOGIN", "HEED_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return Cloud()


def test_succeeded_is_exit_0_and_shows_the_result(cloud, capsys):
    cloud.script = [None, "succeeded"]
    assert run_send(cloud, "d1", "blink", '{"times": 3}', "--lifetime", "10") == 0
    assert cloud.inserted == [{"command": "blink", "parameters": {"times": 3}, "lifetime": 10}]
    out = capsys.readouterr().out
    assert out.startswith("blink on d1: succeeded (")
    assert '"blinked": 3' in out


def test_what_was_not_given_is_not_sent(cloud):
    cloud.script = ["succeeded"]
    run_send(cloud, "d1", "blink")
    assert cloud.inserted == [{"command": "blink"}]


@pytest.mark.parametrize("status", ["failed", "rejected", "unknown", "expired", "interrupted"])
def test_every_other_status_is_exit_1(cloud, status, capsys):
    cloud.script = [status]
    assert run_send(cloud, "d1", "blink") == 1
    assert f"blink on d1: {status}" in capsys.readouterr().out


def test_running_is_not_the_outcome(cloud):
    cloud.script = ["running", "running", "succeeded"]
    assert run_send(cloud, "d1", "blink") == 0
    assert cloud.polls == 3


def test_json_prints_the_command(cloud, capsys):
    cloud.script = ["failed"]
    assert run_send(cloud, "d1", "blink", "--json") == 1
    assert json.loads(capsys.readouterr().out)["status"] == "failed"


def test_no_outcome_in_time_says_so(cloud):
    with pytest.raises(Problem, match=r"no outcome within 0\.1 s of command 7") as caught:
        run_send(cloud, "d1", "blink", "--timeout", "0.1")
    assert caught.value.code == 1


def test_parameters_that_are_not_json_say_where():
    with pytest.raises(Problem, match=r"not JSON: .* line 1 column 11") as caught:
        send._parsed('{"times": }')
    assert caught.value.code == 2


def test_wrong_password_and_unknown_device_are_one_line(cloud):
    with pytest.raises(Refused, match=r"\(401\): Invalid credentials"):
        run_send(cloud, "d1", "blink", "--password", "wrong")
    with pytest.raises(Refused, match=r"\(404\): Device with such deviceId = d2 not found"):
        run_send(cloud, "d2", "blink")


def test_nobody_there_is_one_line():
    async def call():
        async with REST(f"http://127.0.0.1:{free_port()}/api/rest", "heed", "heed") as rest:
            await rest.login()

    with pytest.raises(Problem, match="nothing answers at"):
        asyncio.run(call())


def test_device_is_saved_and_command_read(cloud):
    async def work(url):
        async with REST(url, "heed", "heed") as rest:
            await rest.login()
            await rest.save_device("d1", networkId=1)
            return await rest.get("d1", 9)

    assert asyncio.run(with_cloud(cloud, work)) == {"id": 9, "status": None}
    assert cloud.saved == ("d1", {"name": "d1", "networkId": 1})
