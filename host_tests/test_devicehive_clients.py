"""DeviceHive's own client libraries, unmodified, against the hub and an agent on MicroPython.

They were written for the real server, so what they accept of the hub it does as that does.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from host_tests.place import Place
from host_tests.processes import Child
from tools import clients
from tools.report import Problem
from tools.rest import REST

SCRIPTS = Path(__file__).with_name("clients")


def python_client(*words):
    environment = {**os.environ, "PYTHONPATH": str(clients.python())}
    return Child([sys.executable, SCRIPTS / "python_client.py", *words], env=environment)


def javascript_client(*words):
    environment = {**os.environ, "NODE_PATH": str(clients.javascript())}
    return Child([clients.node(), SCRIPTS / "javascript_client.js", *words], env=environment)


CLIENTS = {"python": python_client, "javascript": javascript_client}


@pytest.fixture
def place(tmp_path):
    with Place(tmp_path, 32) as place:
        place.start_hub()
        yield place


@pytest.fixture(params=CLIENTS)
def client(request, place):
    """Gives client(commands, password): the events that one run of the application prints."""

    def run(commands, password="heed"):
        words = (place.websocket, "heed", password, "dev-1", json.dumps(commands))
        with CLIENTS[request.param](*words) as child:
            assert child.wait(60) == 0, child.output
        try:
            return [json.loads(line) for line in child.lines]
        except ValueError:
            raise AssertionError(child.output) from None

    return run


def outcomes(events):
    """(status, result) of each command in the order they were sent; each one updated once."""
    sent = [event["id"] for event in events if event["event"] == "sent"]
    updates = [event for event in events if event["event"] == "update"]
    assert sorted(update["id"] for update in updates) == sorted(sent), events
    found = {update["id"]: (update["status"], update["result"]) for update in updates}
    return [found[number] for number in sent]


def test_client_sends_commands_and_hears_of_each_outcome(place, client):
    place.start_agent()
    place.online()
    events = client(
        [
            ["add", {"a": 2, "b": 3}, 30],
            ["add", {"a": 2}, 30],
            ["dance", None, None],
            ["tell", {"c": 21.5}, 30],
            ["raise", {}, 30],
        ]
    )
    assert events[0] == {"event": "device", "id": "dev-1", "name": "Board"}
    done, rejected, unknown, told, failed = outcomes(events)
    assert done == ("succeeded", {"sum": 5, "runs": 1})
    assert [status for status, _ in (rejected, unknown, failed)] == [
        "rejected",
        "unknown",
        "failed",
    ]
    assert told == ("succeeded", True)
    note = {"event": "notification", "name": "told", "parameters": {"c": 21.5}}
    assert note in events
    listed = dict(events[-1]["commands"])
    assert (events[-1]["event"], listed["raise"], len(events[-1]["commands"])) == (
        "listed",
        "failed",
        5,
    )


def test_p2_client_hears_that_its_command_expired(place, client):
    place.start_agent()
    place.online()
    running, queued, late = outcomes(
        client([["sleep", {"s": 3}, 1], ["sleep", {"s": 3}, 1], ["add", {"a": 1, "b": 1}, -5]])
    )
    assert running[0] == queued[0] == late[0] == "expired"
    assert "Traceback" not in place.agent.output


def test_client_with_a_wrong_password_is_refused(place, client):
    (refused,) = client([], password="wrong")
    assert refused["event"] == "refused"
    assert "Invalid credentials" in refused["error"]
    assert refused.get("code", 401) == 401


def test_client_whose_device_is_unknown_is_told(place):
    words = (place.websocket, "heed", "heed", "dev-1", "[]")
    with python_client(*words) as child:
        child.wait(60)
    refused = json.loads(child.lines[-1])
    assert (refused["code"], refused["error"]) == (
        404,
        "Device with such deviceId = dev-1 not found",
    )


def test_updates_reach_who_asked_whoever_sent_the_command(place):
    """A second application hears of what the first one caused, over REST this time."""
    place.start_agent()
    place.online()
    words = (place.websocket, "heed", "heed", "dev-1", json.dumps([["sleep", {"s": 3}, 30]]))
    with javascript_client(*words) as child:
        child.await_line('"sent"', 30)

        async def send():
            async with REST(place.rest, "heed", "heed") as rest:
                await rest.login()
                return (await rest.insert("dev-1", "add", {"a": 1, "b": 1}))["id"]

        number = asyncio.run(send())
        child.await_line(f'"update","id":{number},"status":"succeeded"', 20)
        assert child.wait(20) == 0


def test_without_node_or_npm_one_line_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match=r"Node\.js is missing.*apt install nodejs npm") as caught:
        clients.javascript()
    assert "\n" not in str(caught.value)
    (tmp_path / "node").write_text("#!/bin/sh\n")
    (tmp_path / "node").chmod(0o755)
    with pytest.raises(Problem, match="npm is missing"):
        clients.javascript()


def test_what_npm_says_when_it_fails_is_passed_on(monkeypatch, tmp_path):
    for name, script in (("node", ""), ("npm", "echo 'npm error code E404' >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(clients, "CACHE", tmp_path / "cache")
    with pytest.raises(Problem, match=r"could not be fetched.*npm error code E404"):
        clients.javascript()
    # A second try begins anew.
    assert [
        one.name for one in (tmp_path / "cache/clients").iterdir() if one.suffix != ".part"
    ] == []
