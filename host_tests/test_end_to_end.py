"""From REST to REST: the hub as a process, the agent on real MicroPython with a board's heap."""

import asyncio
import re
from pathlib import Path

import pytest

from host_tests.mosquitto import free_port
from host_tests.place import Place
from tools.rest import REST


@pytest.fixture(params=[32, 64])
def place(request, tmp_path):
    with Place(tmp_path, request.param) as place:
        yield place


def test_each_command_gets_its_status_and_result(place):
    place.start_hub()
    place.start_agent()
    place.online()
    outcomes = place.send(
        ("add", {"a": 2, "b": 3}, 30),
        ("add", {"a": 2}, 30),
        ("add", {"a": 2, "b": "3"}),
        ("subtract", {"a": 2}),
        ("raise",),
        ("refuse",),
        ("sleep", {"s": 2}, 30),
        ("sleep", {"s": 2}, 1),
    )
    assert [outcome["status"] for outcome in outcomes] == [
        "succeeded", "rejected", "rejected", "unknown", "failed", "rejected", "succeeded",
        "expired",
    ]  # fmt: skip
    assert outcomes[0]["result"] == {"sum": 5, "runs": 1}
    assert outcomes[4]["result"] == {"error": "ValueError: broken"}
    assert outcomes[6]["result"] == "slept"
    # Exactly the traceback of the handler that raised, and no other.
    assert place.agent.output.count("Traceback") == 1


def test_p2_a_command_that_expired_before_it_arrived_never_runs(place):
    place.start_hub()
    place.start_agent()
    place.online()
    expired, zero, alive = place.send(
        ("add", {"a": 1, "b": 1}, -5), ("add", {"a": 1, "b": 1}, 0), ("add", {"a": 1, "b": 1}, 5)
    )
    assert (expired["status"], zero["status"]) == ("expired", "expired")
    assert alive["result"] == {"sum": 2, "runs": 1}


def test_the_cloud_killed_and_started_again_is_found_again(place):
    place.start_hub()
    place.start_agent()
    place.online()
    assert place.send(("add", {"a": 1, "b": 1}))[0]["status"] == "succeeded"
    place.hub.kill()
    place.agent.await_line(r"WARNING session: 127\.0\.0\.1:\d+: .*; next try in", 20)
    seen = len(place.agent.lines)
    place.start_hub()
    place.online(seen)
    outcome = place.send(("add", {"a": 1, "b": 1}))[0]
    assert (outcome["status"], outcome["result"]["runs"]) == ("succeeded", 2)


def test_a_refresh_token_logs_in_without_any_password(place):
    place.start_hub()

    async def token():
        async with REST(place.rest, "heed", "heed") as rest:
            return (await rest._call("POST", "token", rest._credentials))["refreshToken"]

    own = {"login": "", "password": "", "refresh_token": asyncio.run(token())}
    place.start_agent(place.settings(**own))
    place.online()
    assert place.send(("add", {"a": 1, "b": 1}))[0]["status"] == "succeeded"


def test_three_hundred_commands_in_a_boards_heap(place):
    place.start_hub()
    place.start_agent()
    place.online()
    for burst in range(60):
        outcomes = place.send(*[("add", {"a": burst, "b": n}, 30) for n in range(5)])
        assert [outcome["status"] for outcome in outcomes] == ["succeeded"] * 5
    assert outcomes[-1]["result"]["runs"] == 300
    assert "Error" not in place.agent.output


def test_telemetry_reaches_the_cloud(place):
    place.start_hub()
    place.start_agent()
    place.online()
    assert place.send(("tell", {"c": 21.5}))[0]["result"] is True

    async def told():
        async with REST(place.rest, "heed", "heed") as rest:
            await rest.login()
            return await rest._call("GET", "device/dev-1/notification")

    found = asyncio.run(told())
    told_of = {one["notification"]: one["parameters"] for one in found}
    assert told_of["told"] == {"c": 21.5}
    assert set(told_of["online"]) == {"version", "reset", "free"}


def test_p3_a_command_over_the_limit_is_answered_too_large(place):
    place.start_hub()
    place.start_agent()
    place.online()
    large, small = place.send(("add", {"a": "x" * 20000, "b": 1}), ("add", {"a": 1, "b": 1}))
    assert (large["status"], small["status"]) == ("too_large", "succeeded")


def test_p1_an_agent_that_is_killed_in_the_middle_runs_nothing_twice_and_answers_all(place):
    place.start_hub()
    place.start_agent()
    place.online()

    async def scene():
        async with REST(place.rest, "heed", "heed") as rest:
            await rest.login()
            sent = [
                await rest.insert("dev-1", "sleep", {"s": 5}, 60),
                await rest.insert("dev-1", "persist", {"s": 2}, 60),
                await rest.insert("dev-1", "sleep", {"s": 1}, 60),  # waits behind the first
            ]
            place.agent.await_line(f"intake: sleep {sent[2]['id']}", 10)
            await asyncio.sleep(0.5)
            place.agent.kill()
            sent.append(await rest.insert("dev-1", "add", {"a": 1, "b": 1}, 60))
            place.start_agent()
            waits = (rest.wait("dev-1", one["id"], 20) for one in sent)
            found = await asyncio.gather(*waits)
            assert all(found), (sent, found, place.agent.output)
            return [(one["status"], one["result"]) for one in found]

    cut, repeated, queued, missed = asyncio.run(scene())
    assert cut == ("interrupted", {"error": "the board was reset while it ran"})
    assert repeated == ("succeeded", "persisted")
    assert queued == ("succeeded", "slept")
    assert missed[0] == "succeeded"


def complaint(place, settings):
    """What an agent says about settings that do not work: its lines up to the first complaint."""
    place.start_agent(settings)
    place.agent.await_line(r"WARNING|ERROR", 30)
    assert "Traceback" not in place.agent.output
    assert len(place.agent.lines) == 1
    return place.agent.lines[0]


def test_without_settings_it_says_so_in_one_line_and_ends(place):
    line = complaint(place, Path("there-is-no-such.json"))
    assert "ERROR settings: there is no settings file settings.json" in line
    assert place.agent.wait() == 0


def test_with_settings_that_lack_something_it_names_all_of_it(place):
    line = complaint(place, {"device": {"name": "x"}, "devicehive": {"port": "y"}})
    for part in ("device.id is missing", "devicehive.host is missing", "devicehive.port: 'y'"):
        assert part in line


def test_with_a_wrong_password_it_says_what_to_check_and_waits_long(place):
    place.start_hub()
    line = complaint(place, place.settings(password="wrong"))
    assert "check the login and the password" in line
    assert int(re.search(r"next try in (\d+)\.", line)[1]) >= 60


def test_with_a_token_that_is_none_it_says_so(place):
    place.start_hub()
    own = {"login": "", "password": "", "refresh_token": "nonsense"}
    line = complaint(place, place.settings(**own))
    assert "DeviceHive refused token/refresh" in line


def test_with_nobody_at_the_address_it_says_so(place):
    place.facts["mqtt_port"] = free_port()
    line = complaint(place, place.settings())
    assert "the connection was refused" in line and "next try in 0." in line


def test_with_a_host_that_has_no_name_it_says_so(place):
    place.facts["mqtt_port"] = 1883
    line = complaint(place, place.settings(host="no-such-host.invalid"))
    assert "its name could not be resolved" in line


def test_with_something_else_than_a_broker_there_it_says_so(place):
    place.start_hub()
    line = complaint(place, place.settings(port=place.facts["http_port"]))
    assert "not an MQTT broker" in line or "closed" in line
