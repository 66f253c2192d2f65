"""Polls over REST, and notifications there."""

import asyncio

import pytest

from host_tests.hub_kit import KEYS, START, run_person, until

COMMANDS = ["/device/command/poll", "/device/d/command/poll"]
NOTIFICATIONS = ["/device/notification/poll", "/device/d/notification/poll"]


def run_story(story):
    """Run `story(hub, clock, person)` with a device `d` there."""

    async def go(hub, clock, person):
        assert await person.ask("PUT", "/device/d", {"name": "d"}) == (204, None)
        await story(hub, clock, person)

    run_person(go)


def insert(hub, name="on", device_id="d", **fields):
    return hub.store.insert_command(hub.store.devices[device_id], 1, name, **fields)


async def poll(hub, person, path, **query):
    """A poll that waits by now."""
    asking = asyncio.create_task(person.ask("GET", path, **query))
    await until(lambda: hub._web.polls.waiting or asking.done())
    assert not asking.done(), asking.result()
    return asking


def names(answer, key="command"):
    status, records = answer
    assert status == 200, answer
    return [record[key] for record in records]


@pytest.mark.parametrize("path", COMMANDS)
def test_poll_gives_what_came_since_the_timestamp_at_once(path):
    async def story(hub, clock, person):
        insert(hub, "early")
        clock.now_s += 1
        for name in ("exact", "late"):
            insert(hub, name)
        clock.now_s += 1
        since = "2027-01-15T08:00:01.000"
        status, commands = await person.ask("GET", path, timestamp=since)
        assert (status, set(commands[0])) == (200, KEYS)
        assert [command["command"] for command in commands] == ["exact", "late"]
        assert names(await person.ask("GET", path, timestamp=since, limit=1)) == ["exact"]
        assert names(await person.ask("GET", path, timestamp=since, names="late,x")) == ["late"]
        # Without a timestamp only what is still to come.
        assert names(await person.ask("GET", path, waitTimeout=0)) == []

    run_story(story)


@pytest.mark.parametrize("path", COMMANDS)
def test_poll_waits_for_the_first_command_that_fits(path):
    async def story(hub, clock, person):
        first = insert(hub, "before")
        clock.now_s += 1
        asking = await poll(hub, person, path, names="on,off")
        insert(hub, "other")
        hub.store.update_command(first, "succeeded", None)
        insert(hub, "off")
        insert(hub, "on")
        assert names(await asking) == ["off"]
        assert hub._web.polls.waiting == []

    run_story(story)


def test_poll_of_a_device_gives_updates_where_they_are_asked_for():
    async def story(hub, clock, person):
        path, query = "/device/d/command/poll", {"returnUpdatedCommands": "true"}
        plain, done = insert(hub, "plain"), insert(hub, "done")
        hub.store.update_command(done, "succeeded", 1)
        assert names(await person.ask("GET", path, timestamp=START, **query)) == ["done"]
        clock.now_s += 1
        asking = await poll(hub, person, path, **query)
        insert(hub, "new")
        hub.store.update_command(plain, "failed", {"error": "x"})
        status, (command,) = await asking
        assert (status, command["command"], command["status"]) == (200, "plain", "failed")
        clock.now_s += 1
        # The path without a device has no such parameter.
        asking = await poll(hub, person, "/device/command/poll", **query)
        hub.store.update_command(plain, "failed", 2)
        insert(hub, "newest")
        assert names(await asking) == ["newest"]

    run_story(story)


@pytest.mark.parametrize("path", [*COMMANDS, *NOTIFICATIONS])
def test_poll_with_nothing_to_tell_is_empty(path):
    async def story(hub, clock, person):
        assert await person.ask("GET", path, waitTimeout=0) == (200, [])
        assert await person.ask("GET", path, names="", timestamp=START) == (200, [])
        assert hub._web.polls.waiting == []

    run_story(story)


def test_poll_with_limit_0_gives_nothing_that_came_before():
    async def story(hub, _clock, person):
        insert(hub)
        query = {"timestamp": START, "limit": 0}
        assert await person.ask("GET", COMMANDS[0], waitTimeout=0, **query) == (200, [])
        asking = await poll(hub, person, COMMANDS[0], **query)
        insert(hub, "new")
        assert names(await asking) == ["new"]

    run_story(story)


def test_poll_ends_when_its_time_is_up():
    async def story(hub, _clock, person):
        asking = await poll(hub, person, COMMANDS[1], waitTimeout=1)
        assert await asking == (200, [])
        assert hub._web.polls.waiting == []

    run_story(story)


def test_many_polls_wait_side_by_side():
    async def story(hub, _clock, person):
        asking = [asyncio.create_task(person.ask("GET", path)) for path in COMMANDS * 10]
        await until(lambda: len(hub._web.polls.waiting) == 20)
        insert(hub)
        for one in asking:
            assert names(await one) == ["on"]

    run_story(story)


def test_stop_answers_those_who_wait():
    async def story(hub, _clock, person):
        asking = [
            asyncio.create_task(person.ask("GET", path)) for path in (*COMMANDS, *NOTIFICATIONS)
        ]
        await until(lambda: len(hub._web.polls.waiting) == 4)
        await hub.stop()
        assert [await one for one in asking] == [(200, [])] * 4
        await hub.start()

    run_story(story)


@pytest.mark.parametrize(
    ("query", "comes"),
    [
        ({"deviceId": "d"}, True),
        ({"deviceId": "e"}, False),
        ({"networkIds": "2,1"}, True),
        ({"networkIds": "2"}, False),
        ({"deviceTypeIds": "1"}, True),
        ({"deviceTypeIds": "2"}, False),
    ],
)
def test_poll_of_many_devices_is_narrowed_by_its_query(query, comes):
    async def story(hub, _clock, person):
        hub.store.networks[2] = hub.store.types[2] = "second"
        await person.ask("PUT", "/device/e", {"name": "e"})
        insert(hub)
        hub.store.insert_notification(hub.store.devices["d"], "temp", 1)
        wanted = {"timestamp": START, "waitTimeout": 0, **query}
        assert names(await person.ask("GET", COMMANDS[0], **wanted)) == ["on"] * comes
        found = await person.ask("GET", NOTIFICATIONS[0], **wanted)
        assert names(found, "notification") == ["temp"] * comes

    run_story(story)


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"waitTimeout": 61}, 400, "Timeout can't be more than 60 seconds."),
        ({"waitTimeout": -1}, 400, "Timeout can't be less than 0 seconds."),
        ({"waitTimeout": "x"}, 400, "Invalid request parameters"),
        ({"limit": -1}, 400, "Limit can't be less than 0."),
        ({"timestamp": "soon"}, 400, "Invalid request parameters"),
        ({"networkIds": "x"}, 400, "Invalid request parameters"),
        ({"networkIds": "9"}, 403, "Networks with such networkIds wasn't found: {[9]}"),
        ({"deviceId": "x"}, 404, "Device with such deviceId = x not found"),
    ],
)
def test_poll_refusals(query, code, message):
    async def story(hub, _clock, person):
        answer = await person.ask("GET", COMMANDS[0], **query)
        assert answer == (code, {"error": code, "message": message})
        assert hub._web.polls.waiting == []

    run_story(story)


@pytest.mark.parametrize("path", [*COMMANDS, *NOTIFICATIONS])
def test_poll_needs_its_right(path):
    async def story(hub, _clock, person):
        made = await person.ask("POST", "/token/create", {"userId": 1, "actions": [3]})
        person.token = made[1]["accessToken"]
        denied = 403, {"error": 403, "message": "Access is denied"}
        assert await person.ask("GET", path) == denied
        person.token = None
        assert await person.ask("GET", path) == (401, {"error": 401, "message": "Unauthorized"})

    run_story(story)


def test_wait_for_a_command_ends_at_its_first_update():
    async def story(hub, _clock, person):
        command, other = insert(hub), insert(hub)
        path = f"/device/d/command/{command.id}/poll"
        asking = await poll(hub, person, path)
        hub.store.update_command(other, "succeeded", None)
        await person.ask("GET", "/info")
        assert not asking.done()
        hub.store.update_command(command, "running", 1)
        status, shown = await asking
        assert (status, shown["id"], shown["status"]) == (200, command.id, "running")
        assert (await person.ask("GET", path, waitTimeout=0))[0] == 200
        refused = await person.ask("GET", path, waitTimeout=61)
        assert refused[1]["message"] == "Timeout can't be more than 60 seconds."

    run_story(story)


def test_notifications_over_rest():
    async def story(hub, clock, person):
        path = "/device/d/notification"
        body = {"notification": "temp", "parameters": {"c": 1}}
        status, made = await person.ask("POST", path, body)
        assert (status, made) == (201, {"id": made["id"], "timestamp": START})
        whole = {
            **made,
            **body,
            "deviceId": "d",
            "networkId": 1,
            "deviceTypeId": 1,
        }
        assert await person.ask("GET", f"{path}/{made['id']}") == (200, whole)
        assert await person.ask("GET", path) == (200, [whole])
        assert await person.ask("GET", path + "/poll", timestamp=START) == (200, [whole])
        absent = 404, {"error": 404, "message": "Requested notification not found"}
        assert await person.ask("GET", f"{path}/{made['id'] + 1}") == absent
        assert (await person.ask("POST", path, {}))[0] == 400
        clock.now_s += 1
        for where in NOTIFICATIONS:
            asking = await poll(hub, person, where, names="temp")
            await person.ask("POST", path, {"notification": "humid"})
            await person.ask("POST", path, {"notification": "temp", "parameters": 2})
            status, (found,) = await asking
            assert (status, found["notification"], found["parameters"]) == (200, "temp", 2)
            clock.now_s += 1

    run_story(story)
