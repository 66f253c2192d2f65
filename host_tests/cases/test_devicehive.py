"""DeviceHive's own ways, and what the real broker and server were seen to do to a device."""

import asyncio
import sys
from errno import ECONNREFUSED

from agent import log, optional
from agent.clock import format_iso8601
from host_tests.rig import DEVICEHIVE, Rig, blinking

MINUTE_MS = 60000
TOKEN = {"host": "devicehive.test", "refresh_token": "refresh"}


def waiting(rig):
    """Register a handler that runs until it is told to stop; return its commands."""
    ran = []

    @rig.board.command("wait")
    async def wait(command):
        ran.append(command)
        await asyncio.Event().wait()

    return ran


async def test_p1_a_push_that_the_server_knows_nothing_of_never_runs():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.cloud.spoof(rig.cloud.entry("blink", {"times": 1}))
        await rig.clock.advance(MINUTE_MS)
        assert not ran and not rig.cloud.updates
        assert rig.board._cloud._commands.dropped == 1
        assert "no such command" in rig.said(log.WARNING)[-1]


async def test_p1_what_runs_is_what_the_server_holds_and_not_what_the_push_says():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        true = rig.cloud.entry("blink", {"times": 1})
        rig.cloud.commands.append(true)
        rig.cloud.spoof(dict(true, parameters={"times": 99}))
        await rig.clock.settle()
        assert [command.parameters["times"] for command in ran] == [1]


async def test_p3_a_push_ahead_of_the_servers_memory_runs_once():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        entry = rig.cloud.entry("blink", {"times": 1})
        rig.cloud.unstored.append(entry)
        rig.cloud.push(entry)
        await rig.clock.advance(300)
        assert not ran
        rig.cloud.unstored.clear()
        await rig.clock.advance(MINUTE_MS)
        assert len(ran) == 1
        assert rig.cloud.statuses() == {entry["id"]: ["succeeded"]}
        assert rig.board._cloud._commands.dropped == 0


async def test_p3_a_sender_s_own_old_timestamp_is_found_when_its_push_was_too_early():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        await rig.clock.advance(MINUTE_MS)
        old = format_iso8601(rig.cloud.server_ms() - 60 * MINUTE_MS)
        entry = rig.cloud.entry("blink", {"times": 1}, timestamp=old)
        rig.cloud.unstored.append(entry)
        rig.cloud.push(entry)
        await rig.clock.settle()
        rig.cloud.unstored.clear()
        await rig.clock.advance(1000)
        assert len(ran) == 1


async def test_p4_a_flood_of_false_pushes_leaves_room_for_a_true_one():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        for _ in range(100):
            rig.cloud.spoof(rig.cloud.entry("blink", {"times": 1}))
        true = rig.cloud.insert("blink", {"times": 2})
        await rig.clock.advance(2000)
        commands = rig.board._cloud._commands
        assert len(commands._asked) <= 32 and len(commands._doubted) <= 32
        assert rig.cloud.statuses() == {true: ["succeeded"]} and len(ran) == 1


async def test_p4_answers_that_never_come_are_not_waited_for_for_ever():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.cloud.silent.append("command/get")
        for _ in range(40):
            rig.cloud.insert("blink", {"times": 1})
            await rig.clock.settle()
        await rig.clock.advance(2 * MINUTE_MS)
        rig.cloud.silent.clear()
        assert len(ran) == 40
        rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        assert len(ran) == 41 and len(rig.board._cloud._commands._asked) == 0


async def test_without_verify_a_push_runs_as_it_came():
    async with Rig(devicehive=dict(DEVICEHIVE, verify=False)) as rig:
        ran = blinking(rig)
        await rig.start()
        rig.cloud.spoof(rig.cloud.entry("blink", {"times": 1}))
        await rig.clock.settle()
        assert len(ran) == 1 and "command/get" not in rig.cloud.requests


async def test_a_command_taken_back_from_outside_is_cancelled_where_it_runs():
    for word in ("cancelled", "canceled"):
        async with Rig() as rig:
            ran = waiting(rig)
            await rig.start()
            running, queued = rig.cloud.insert("wait"), rig.cloud.insert("wait")
            await rig.clock.settle()
            rig.cloud.update(queued, word)
            rig.cloud.update(running, word)
            await rig.clock.settle()
            assert len(ran) == 1
            assert rig.cloud.statuses() == {running: ["cancelled"], queued: ["cancelled"]}
            assert rig.cloud.updates[0][2] == {"error": "the cloud took it back"}


async def test_a_command_taken_back_while_the_board_was_away_ends_when_it_returns():
    async with Rig() as rig:
        ran = waiting(rig)
        await rig.start()
        id = rig.cloud.insert("wait")
        await rig.clock.settle()
        rig.transport.cut()
        await rig.clock.settle()
        rig.cloud.update(id, "cancelled")
        missed = rig.cloud.insert("wait")
        rig.cloud.update(missed, "cancelled")
        await rig.clock.advance(1000)
        assert rig.board.online and len(ran) == 1
        assert rig.cloud.statuses() == {id: ["cancelled"]}


async def test_neither_echoes_nor_other_statuses_nor_strangers_cancel():
    async with Rig() as rig:
        ran = waiting(rig)
        await rig.start()
        id = rig.cloud.insert("wait")
        await rig.clock.settle()
        rig.cloud.update(id, "seen by a person", {"note": "not cancelled"})
        held = rig.cloud.commands[0]
        later = format_iso8601(rig.cloud.server_ms() + 5)
        rig.cloud.spoof(dict(held, status="cancelled", lastUpdated=later), "command/update")
        await rig.clock.advance(2000)
        assert len(ran) == 1 and not rig.cloud.updates


async def test_p1_what_somebody_else_answered_while_the_board_was_away_does_not_run():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.transport.refusals = [OSError(ECONNREFUSED)] * 100
        rig.transport.cut()
        await rig.clock.settle()
        answered = rig.cloud.insert("blink", {"times": 1})
        rig.cloud.update(answered, "done by hand")
        rig.transport.refusals.clear()
        await rig.clock.advance(2 * MINUTE_MS)
        assert rig.board.online and not ran and not rig.cloud.updates


async def test_a_command_inserted_as_cancelled_runs_by_push_and_by_list():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        pushed = rig.cloud.insert("blink", {"times": 1}, status="cancelled")
        await rig.clock.settle()
        rig.transport.cut()
        await rig.clock.settle()
        listed = rig.cloud.insert("blink", {"times": 1}, status="cancelled")
        await rig.clock.advance(1000)
        assert len(ran) == 2
        assert rig.cloud.statuses() == {pushed: ["succeeded"], listed: ["succeeded"]}


async def test_a_log_in_that_the_server_forgot_is_made_again_at_once():
    # The subscription went with it, so that it takes a new session.
    async with Rig(devicehive=TOKEN) as rig:
        blinking(rig)
        await rig.start()
        rig.cloud.refused["command/update"] = (401, "Unauthorized")
        rig.cloud.forgives.append("authenticate")
        ids = [rig.cloud.insert("blink", {"times": times}) for times in (1, 2)]
        await rig.clock.advance(600)
        assert rig.cloud.statuses() == {id: ["succeeded"] for id in ids}
        assert rig.cloud.requests.count("authenticate") == 2
        assert len(rig.transport.endpoints) == 2


async def test_p4_a_server_that_forgets_every_log_in_is_not_asked_in_a_tight_loop():
    async with Rig(devicehive=TOKEN) as rig:
        blinking(rig)
        await rig.start()
        rig.cloud.refused["command/update"] = (401, "Unauthorized")
        id = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(30000)
        assert rig.cloud.requests.count("authenticate") < 40
        rig.cloud.refused.clear()
        await rig.clock.advance(3 * MINUTE_MS)
        assert rig.board.online and rig.cloud.statuses() == {id: ["succeeded"]}


async def test_a_subscription_that_the_server_dropped_is_made_anew():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.cloud.dropped = True
        await rig.clock.advance(6000)
        assert "dropped the subscription" in rig.said(log.WARNING)[0]
        rig.cloud.dropped = False
        await rig.clock.advance(MINUTE_MS)
        rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        assert rig.board.online and len(ran) == 1


async def test_p3_pushes_that_another_client_swallows_are_found_by_the_list():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        await rig.clock.advance(10000)
        rig.cloud.starved = True
        rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(MINUTE_MS)
        assert len(ran) == 1
        # Now it looks more often.
        rig.cloud.insert("blink", {"times": 2})
        await rig.clock.advance(11000)
        assert len(ran) == 2


async def test_after_a_server_fell_silent_the_next_subscription_is_spelled_otherwise():
    async with Rig() as rig:
        rig.cloud.record = {"name": "dev-1", "data": None, "networkId": 7, "deviceTypeId": 3}
        await rig.start()
        rig.cloud.silent.append("server/info")
        await rig.clock.advance(20000)
        rig.cloud.silent.clear()
        await rig.clock.advance(MINUTE_MS)
        assert rig.board.online
        filters = [topic for topic in rig.transport.topics if topic.startswith("dh/command/")]
        assert filters == ["dh/command/+/+/dev-1/#", "dh/command/7/+/dev-1/#"]


async def test_p3_a_long_command_is_kept_alive_and_answered_once():
    async with Rig() as rig:

        @rig.board.command("long")
        async def long(command):
            await rig.clock.sleep_ms(5 * MINUTE_MS)
            return "done"

        await rig.start()
        id = rig.cloud.insert("long")
        short = rig.cloud.insert("nobody")
        reports, said = [], 0
        for _ in range(10):
            await rig.clock.advance(31000)
            reports.append(
                len(rig.cloud.statuses()[id]) - said if id in rig.cloud.statuses() else 0
            )
            said += reports[-1]
        # Never two minutes without one.
        assert all(sum(reports[n : n + 4]) for n in range(7)), reports
        statuses = rig.cloud.statuses()
        assert statuses[id][-1] == "succeeded" and set(statuses[id][:-1]) == {"running"}
        assert statuses[short] == ["unknown"]


async def test_p3_more_commands_than_fit_into_one_answer_or_the_queue_are_all_run():
    for exclusive in (False, True):
        async with Rig(limits={"payload": 4096, "queue": 3, "outbox": 6}) as rig:
            rig.cloud.exclusive = exclusive
            ran = blinking(rig)
            await rig.start()
            rig.transport.refusals = [OSError(ECONNREFUSED)] * 100
            rig.transport.cut()
            await rig.clock.settle()
            ids = []
            for _ in range(40):
                ids.append(rig.cloud.insert("blink", {"times": 1}))
                await rig.clock.advance(7)
            rig.transport.refusals.clear()
            await rig.clock.advance(2 * MINUTE_MS)
            assert len(ran) == 40
            assert rig.cloud.statuses() == {id: ["succeeded"] for id in ids}


async def test_p3_commands_of_one_moment_are_listed_although_they_cannot_be_halved():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.transport.cut()
        await rig.clock.settle()
        for _ in range(12):
            rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(5000)
        assert len(ran) == 12


async def test_p3_a_command_too_large_for_any_list_is_answered_and_the_others_run():
    async with Rig(limits={"payload": 2048}) as rig:
        ran = blinking(rig)
        await rig.start()
        rig.transport.cut()
        await rig.clock.settle()
        small = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(20)
        large = rig.cloud.insert("blink", {"times": 1, "text": "x" * 4000})
        await rig.clock.advance(20)
        last = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(2000)
        assert len(ran) == 2
        answers = {small: ["succeeded"], large: ["too_large"], last: ["succeeded"]}
        assert rig.cloud.statuses() == answers


async def test_a_device_whose_data_cannot_be_read_is_not_saved():
    async with Rig(limits={"payload": 2048}) as rig:
        rig.cloud.record = {"name": "Old", "data": {"text": "x" * 4000}, "networkId": 7}
        await rig.start()
        assert rig.board.online and "device/save" not in rig.cloud.requests
        assert "too large to read" in rig.said(log.WARNING)[0]


async def test_a_server_that_fails_at_device_get_is_not_taken_for_one_without_the_device():
    async with Rig() as rig:
        rig.cloud.refused["device/get"] = (500, "java.lang.NullPointerException")
        await rig.start()
        assert not rig.board.online and "device/save" not in rig.cloud.requests


async def test_a_device_of_another_network_says_what_to_do():
    async with Rig() as rig:
        for action in ("device/get", "command/list"):
            rig.cloud.refused[action] = (403, "Access is denied")
        rig.cloud.refused["device/save"] = (403, "No access to network!")
        await rig.start()
        await rig.clock.advance(30 * MINUTE_MS)
        assert not rig.board.online and len(rig.transport.endpoints) < 7
        line = rig.said(log.WARNING)[0]
        assert "No access to network!" in line and "this user needs the right" in line


async def test_a_user_who_may_not_read_devices_does_not_wipe_the_data_of_one():
    async with Rig() as rig:
        rig.cloud.record = {"name": "Old", "data": {"where": "cellar"}, "networkId": 7}
        rig.cloud.refused["device/get"] = (403, "Access is denied")
        await rig.start()
        assert "device/save" not in rig.cloud.requests and not rig.board.online
        assert "give the user that right" in rig.said(log.WARNING)[0]


async def test_p1_strange_pushes_neither_run_nor_answer_nor_end_the_session():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        held = rig.cloud.entry("blink", {"times": 1})
        rig.cloud.commands.append(held)
        for timestamp in (None, 12, "yesterday"):
            rig.cloud.spoof(dict(held, timestamp=timestamp, parameters={"times": 2}))
        # A true command of another device, sent on to this one.
        other = rig.cloud.entry("blink", {"times": 3}, deviceId="dev-2")
        rig.cloud.commands.append(other)
        rig.cloud.spoof(other)
        await rig.clock.advance(2000)
        assert [command.parameters["times"] for command in ran] == [1]
        assert rig.cloud.statuses() == {held["id"]: ["succeeded"]}
        assert len(rig.transport.endpoints) == 1


async def test_a_locked_user_says_what_to_do():
    async with Rig(devicehive=TOKEN) as rig:
        rig.cloud.refused["authenticate"] = (401, "User is locked or disabled")
        await rig.start()
        assert "ten wrong passwords lock a user" in rig.said(log.WARNING)[0]


async def test_presence_is_told_at_birth_and_left_with_the_broker_for_the_end():
    async with Rig() as rig:
        await rig.start()
        name, told = rig.cloud.notifications[0]
        assert name == "online" and set(told) == {"version", "reset", "free"}
        topic, payload = rig.transport.endpoints[0]["will"]
        rig.cloud.answer(topic, payload)
        assert rig.cloud.notifications[1] == ("offline", None)


async def test_presence_can_be_switched_off():
    async with Rig(devicehive=dict(DEVICEHIVE, presence=False)) as rig:
        await rig.start()
        assert not rig.cloud.notifications and "will" not in rig.transport.endpoints[0]


async def test_the_device_tells_what_its_handlers_take():
    async with Rig() as rig:
        rig.cloud.record = {"name": "dev-1", "data": {"where": "cellar"}, "networkId": 7}
        params = {
            "times": (int, 1, 100),
            "speed": optional(float),
            "mode": {"on", "off"},
            "text": (str, 0, 8),
        }
        rig.board.command("blink", params=params)(print)
        rig.board.command("raw")(print)
        rig.board.command("none", params={})(print)
        await rig.start()
        assert rig.cloud.record["data"] == {
            "where": "cellar",
            "commands": {
                "blink": {
                    "times": {"type": "integer", "minimum": 1, "maximum": 100},
                    "speed": {"type": "number", "optional": True},
                    "mode": {"enum": ["off", "on"]},
                    "text": {"type": "string", "minLength": 0, "maxLength": 8},
                },
                "raw": None,
                "none": {},
            },
        }
        rig.transport.cut()
        await rig.clock.advance(1000)
        assert rig.cloud.requests.count("device/save") == 1
        assert "agent.catalogue" not in sys.modules and "agent.settings" not in sys.modules


async def test_data_that_is_no_object_is_left_alone():
    async with Rig() as rig:
        rig.cloud.record = {"name": "dev-1", "data": "a note", "networkId": 7}
        rig.board.command("raw")(print)
        await rig.start()
        assert rig.cloud.record["data"] == "a note" and rig.board.online
