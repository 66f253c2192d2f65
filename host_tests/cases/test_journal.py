"""The journal: what it keeps, what a reset finds, what damage does to it."""

import asyncio
import os
from errno import EEXIST

from agent import Rejected, journal, log
from agent.clock import format_iso8601
from agent.command import Command, Outcome
from agent.journal import Journal
from host_tests.fake_clock import MORNING_MS, FakeClock
from host_tests.rig import Rig
from host_tests.scratch import Scratch

ENOSPC = 28
EROFS = 30


def command(number, timestamp=None):
    return Command(
        number, "blink", {"n": number}, timestamp or MORNING_MS + number, 30, device="dev-1"
    )


def opened(folder, slots=8, mode="full"):
    """Return a journal as after a start, with the outcomes and the commands it found."""
    made = Journal(FakeClock(), folder, slots, mode)
    slots, running = made.load()
    return made, [made.outcome(slot) for slot in slots], running


def quiet(function):
    """Return the lines that the log gets while `function` runs."""
    lines = []
    log.sink = lambda severity, text: lines.append(text)
    try:
        function()
    finally:
        log.sink = log._print
    return lines


def test_p3_an_outcome_is_there_after_a_reset_until_it_was_acknowledged():
    with Scratch() as folder:
        first, outcomes, running = opened(folder)
        assert (outcomes, running) == ([], [])
        for number in (1, 2):
            one = command(number)
            first.started(one, False)
            first.ended(Outcome(one, "succeeded", {"n": number}))
        second, outcomes, running = opened(folder)
        assert not running
        assert [(o.command.id, o.status, o.result) for o in outcomes] == [
            (1, "succeeded", {"n": 1}),
            (2, "succeeded", {"n": 2}),
        ]
        second.acknowledged(outcomes[0])
        second.acknowledged(outcomes[1])
        second.started(command(3), False)
        _, outcomes, running = opened(folder)
        assert not outcomes
        assert [one.id for one in running] == [3]


def test_an_acknowledgement_costs_no_write():
    with Scratch() as folder:
        kept, _, _ = opened(folder)
        one = command(1)
        kept.started(one, False)
        outcome = Outcome(one, "succeeded", 5)
        kept.ended(outcome)
        number = kept._number
        kept.acknowledged(outcome)
        assert kept._number == number == 2
        _, outcomes, _ = opened(folder)
        assert [o.result for o in outcomes] == [5]


def test_what_is_needed_to_run_again_is_kept_only_for_those_that_may():
    with Scratch() as folder:
        kept, _, _ = opened(folder)
        kept.started(command(1), True)
        kept.started(command(2), False)
        _, _, running = opened(folder)
        assert [(one.parameters, one.lifetime) for one in running] == [
            ({"n": 1}, 30),
            (None, None),
        ]
        assert [one.attempts for one in running] == [1, 1]
        assert running[0].timestamp == MORNING_MS + 1 and running[0].device == "dev-1"


def test_p1_ids_are_known_after_a_reset_and_the_floor_covers_the_forgotten():
    with Scratch() as folder:
        kept, _, _ = opened(folder, 4)
        for number in range(1, 11):
            one = command(number)
            assert not kept.seen(one.key)
            kept.started(one, False)
            outcome = Outcome(one, "succeeded")
            kept.ended(outcome)
            kept.acknowledged(outcome)
        again, _, _ = opened(folder, 4)
        lines = quiet(lambda: [again.seen(command(number).key) for number in range(1, 11)])
        assert len(lines) == again.below_floor == 6
        for journal_ in (kept, again):
            assert all(journal_.seen(command(number).key) for number in range(1, 11))
            assert not journal_.seen(command(11).key)


def test_p1_what_runs_or_waits_for_its_acknowledgement_is_never_forgotten():
    with Scratch() as folder:
        kept, _, _ = opened(folder, 4)
        held, waiting = command(1), command(2)
        kept.started(held, False)
        kept.started(waiting, False)
        kept.ended(Outcome(waiting, "succeeded", "keep me"))
        for number in range(3, 30):
            one = command(number)
            kept.started(one, False)
            outcome = Outcome(one, "succeeded")
            kept.ended(outcome)
            kept.acknowledged(outcome)
        _, outcomes, running = opened(folder, 4)
        assert [one.id for one in running] == [1]
        assert "keep me" in [o.result for o in outcomes]


def test_p4_a_timestamp_in_the_future_does_not_shut_out_what_comes_after():
    with Scratch() as folder:
        kept, _, _ = opened(folder, 4)
        kept._clock.set_ms(MORNING_MS, 0, 0)
        for number in range(1, 9):
            one = command(number, MORNING_MS + 10**10 + number)
            kept.started(one, False)
            outcome = Outcome(one, "succeeded")
            kept.ended(outcome)
            kept.acknowledged(outcome)
        again, _, _ = opened(folder, 4)
        for journal_ in (kept, again):
            assert not journal_.seen(command(9, MORNING_MS + 5).key)


def test_p1_of_a_crowd_from_the_future_none_runs_again():
    with Scratch() as folder:
        kept, _, _ = opened(folder, 4)
        kept._clock.set_ms(MORNING_MS, 0, 0)
        crowd = [command(number, MORNING_MS + 3600000 + number) for number in range(1, 9)]
        for one in crowd:
            kept.started(one, False)
            kept.ended(Outcome(one, "succeeded"))
            kept.acknowledged(Outcome(one, "succeeded"))
        assert all(kept.seen(one.key) for one in crowd)


def test_two_commands_of_one_id_and_different_times_are_two():
    with Scratch() as folder:
        kept, _, _ = opened(folder)
        kept.started(command(1), False)
        assert kept.seen(command(1).key)
        assert not kept.seen(command(1, MORNING_MS + 500).key)


def spoil(folder, name, change):
    with open(folder + "/" + name) as file:
        text = file.read()
    with open(folder + "/" + name, "w") as file:
        file.write(change(text))


def test_p4_a_damaged_file_is_set_aside_with_a_message_and_the_rest_is_read():
    for change in (
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("blink", "blank"),
        lambda text: "zz" + text,
        lambda text: text[:8] + "[1]",
    ):
        with Scratch() as folder:
            kept, _, _ = opened(folder)
            for number in (1, 2):
                kept.started(command(number), False)
            spoil(folder, "0", change)
            found = []
            lines = quiet(lambda folder=folder, found=found: found.extend(opened(folder)))
            assert [one.id for one in found[2]] == [2]
            assert "set aside" in lines[0] and "/0" in lines[0]
            assert "bad" in os.listdir(folder) and "0" not in os.listdir(folder)


def test_a_foreign_file_is_set_aside_and_a_rest_of_a_cut_write_is_passed_over():
    with Scratch() as folder:
        kept, _, _ = opened(folder)
        kept.started(command(1), False)
        for name in ("new", "notes.txt"):
            with open(folder + "/" + name, "w") as file:
                file.write("half a rec")
        found = []
        lines = quiet(lambda: found.extend(opened(folder)))
        assert [one.id for one in found[2]] == [1]
        assert len(lines) == 1 and "notes.txt" in lines[0]


def rewritten(text, **changes):
    import binascii
    import json

    record = json.loads(text[8:])
    record.update(changes)
    text = json.dumps(record)
    return "%08x%s" % (binascii.crc32(text.encode()), text)


def test_the_next_format_is_read_and_one_further_on_is_not():
    with Scratch() as folder:
        kept, _, _ = opened(folder)
        for number in (1, 2):
            kept.started(command(number), False)
        spoil(folder, "0", lambda text: rewritten(text, f=2, x="from a later release"))
        spoil(folder, "1", lambda text: rewritten(text, f=3))
        found = []
        lines = quiet(lambda: found.extend(opened(folder)))
        assert [one.id for one in found[2]] == [1]
        assert len(lines) == 1 and "format 3" in lines[0]
        assert found[0].seen(command(1).key)


class Failing:
    """Takes the place of `open` in the journal and fails with an errno."""

    def __init__(self, errno):
        self.errno = errno

    def __call__(self, path, mode="r"):
        if "w" in mode:
            raise OSError(self.errno)
        return open(path, mode)


def test_p1_before_p3_what_cannot_be_written_is_not_started_and_its_outcome_still_told():
    for errno in (ENOSPC, EROFS):
        with Scratch() as folder:
            kept, _, _ = opened(folder)
            before, after = command(1), command(2)
            kept.started(before, False)
            journal.open = Failing(errno)
            try:
                kept.started(after, False)
            except OSError as e:
                assert e.errno == errno or errno in e.args
            else:
                raise AssertionError("started without a note")
            finally:
                del journal.open
            journal.open = Failing(errno)
            lines = quiet(lambda: kept.ended(Outcome(before, "succeeded")))
            del journal.open
            assert len(lines) == 1 and "not written" in lines[0]
            assert kept.seen(before.key) and kept.seen(after.key)


class FAT:
    """Takes the place of `os` in the journal: its rename refuses a name that is taken."""

    listdir, mkdir, remove = os.listdir, os.mkdir, os.remove

    def rename(self, new, old):
        if old.split("/")[-1] in os.listdir(old[: old.rindex("/")]):
            raise OSError(EEXIST, "exists")
        os.rename(new, old)


def test_on_fat_it_works_and_says_what_is_missing():
    with Scratch() as folder:
        journal.os = FAT()
        try:
            kept, _, _ = opened(folder)
            one = command(1)
            kept.started(one, False)
            lines = quiet(lambda: kept.ended(Outcome(one, "succeeded", 7)))
            _, outcomes, _ = opened(folder)
        finally:
            journal.os = os
        assert [o.result for o in outcomes] == [7]
        assert "FAT" in lines[0]


def test_mode_results_writes_outcomes_alone_and_off_nothing():
    for mode, files in (("results", 1), ("off", 0)):
        with Scratch() as folder:
            kept, _, _ = opened(folder, 8, mode)
            one = command(1)
            kept.started(one, False)
            assert not os.listdir(folder)
            kept.ended(Outcome(one, "succeeded"))
            assert len(os.listdir(folder)) == files
            assert kept.seen(one.key)


def ledger():
    """Return a program whose handlers note what they did, and the notes."""
    notes = []

    def program(board):
        @board.command("blink")
        def blink(command):
            notes.append(command.parameters)
            return "blinked"

        async def dwell(command):
            notes.append(command.parameters)
            await board.clock.sleep_ms(60000)
            return "dwelt"

        board.command("dwell")(dwell)
        board.command("again", idempotent=True)(dwell)
        board.command("reboot", after_reset=lambda command: {"proved": command.name})(dwell)
        board.command("broken", after_reset=lambda command: {1, 2})(dwell)

    return program, notes


async def test_p1_a_command_cut_off_by_a_reset_is_interrupted_and_never_runs_again():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            id = rig.cloud.insert("dwell", 1)
            await rig.clock.settle()
            await rig.reset()
            assert rig.cloud.statuses() == {id: ["interrupted"]}
            await rig.reset()
            await rig.clock.advance(10000)
            assert notes == [1]
            # An acknowledgement without a later write is not remembered: the same may go again.
            assert set(rig.cloud.statuses()[id]) == {"interrupted"}


async def test_p1_an_idempotent_command_runs_at_most_three_times():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            id = rig.cloud.insert("again", 1)
            await rig.clock.settle()
            for _ in range(5):
                await rig.reset()
                await rig.clock.settle()
            assert notes == [1, 1, 1]
            assert set(rig.cloud.statuses()[id]) == {"interrupted"}


async def test_p2_an_idempotent_command_does_not_run_again_past_its_deadline():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            id = rig.cloud.insert("again", 1, 20)
            await rig.clock.settle()
            await rig.reset(19000)
            assert notes == [1, 1]
            await rig.reset(2000)
            assert notes == [1, 1]
            assert rig.cloud.statuses() == {id: ["expired"]}


async def test_p2_after_a_reset_a_lifetime_waits_for_the_clock_and_not_for_ever():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            id = rig.cloud.insert("again", 1, 3600)
            await rig.clock.settle()
            rig.transport.refusals = [OSError(111, "refused")] * 1000
            await rig.reset()
            await rig.clock.advance(59000)
            assert notes == [1] and not rig.cloud.updates
            await rig.clock.advance(2000)
            rig.transport.refusals = []
            await rig.clock.advance(300000)
            assert notes == [1]
            assert rig.cloud.statuses() == {id: ["expired"]}


async def test_after_reset_proves_a_command_by_the_next_boot():
    with Scratch() as folder:
        program, _ = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            good, bad = rig.cloud.insert("reboot"), rig.cloud.insert("broken")
            await rig.clock.settle()
            await rig.reset()
            found = {id: (status, result) for id, status, result in rig.cloud.updates}
            assert found[good] == ("succeeded", {"proved": "reboot"})
            assert found[bad][0] == "failed" and len(rig.cloud.updates) == 2


async def test_p3_an_outcome_survives_an_outage_and_a_power_cut():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            rig.cloud.silent.append("command/update")
            id = rig.cloud.insert("blink", 1)
            unknown = rig.cloud.insert("blnk")
            await rig.clock.settle()
            rig.cloud.silent.clear()
            await rig.reset()
            assert notes == [1]
            assert rig.cloud.statuses() == {id: ["succeeded"], unknown: ["unknown"]}


async def test_p1_an_acknowledged_outcome_goes_out_again_after_a_reset_at_most_the_same():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            rig.cloud.insert("blink", 1)
            await rig.clock.settle()
            await rig.reset()
            assert notes == [1]
            assert len(set(map(repr, rig.cloud.updates))) == 1


async def test_commands_that_came_while_the_board_was_away_run_after_the_reset():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            await rig.stop()
            rig.transport.connected = False
            fresh = rig.cloud.insert("blink", 1, 30)
            stale = rig.cloud.insert("blink", 2, 1)
            await rig.reset(5000)
            assert notes == [1]
            assert rig.cloud.statuses() == {fresh: ["succeeded"], stale: ["expired"]}


async def test_p1_before_p3_without_room_on_the_file_system_nothing_runs_and_all_is_answered():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            journal.open = Failing(ENOSPC)
            try:
                id = rig.cloud.insert("blink", 1)
                await rig.clock.settle()
            finally:
                del journal.open
            assert not notes
            assert rig.cloud.statuses() == {id: ["failed"]}
            assert "the journal can't be written" in rig.cloud.updates[0][2]["error"]
            rig.cloud.insert("blink", 2)
            await rig.clock.settle()
            assert notes == [2]


async def test_mode_results_leaves_a_command_that_was_cut_off_to_the_cloud():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder, journal="results") as rig:
            await rig.start()
            rig.cloud.insert("dwell", 1)
            await rig.clock.settle()
            await rig.reset()
            assert rig.cloud.updates == [] and notes == [1]


async def test_allow_decides_who_may():
    def program(board):
        @board.command("open", allow=lambda command: command.cloud["userId"] == 7)
        def open_(command):
            return "opened"

        board.command("odd", allow=lambda command: 1 / 0)(open_)

        @board.command("fine")
        def fine(command):
            raise Rejected("by the handler")

    async with Rig(program) as rig:
        await rig.start()
        ids = [rig.cloud.insert("open", None, None, userId=user) for user in (7, 8)]
        ids.append(rig.cloud.insert("odd"))
        await rig.clock.settle()
        statuses = rig.cloud.statuses()
        assert [statuses[id] for id in ids] == [["succeeded"], ["rejected"], ["rejected"]]
        errors = {
            id: result["error"] for id, status, result in rig.cloud.updates if status[0] == "r"
        }
        assert errors[ids[1]] == "the sender may not run open"


async def test_a_command_from_the_board_itself_leaves_nothing_in_the_journal():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            outcome = await rig.board.submit("blink", 3)
            assert outcome.status == "succeeded" and notes == [3]
            assert not os.listdir(folder + "/journal")
            await asyncio.sleep(0)


async def test_p1_a_timestamp_of_its_own_in_the_past_runs_once():
    with Scratch() as folder:
        program, notes = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            old = format_iso8601(rig.cloud.server_ms() - 86400000)
            id = rig.cloud.insert("blink", 1, None, timestamp=old)
            await rig.clock.settle()
            await rig.reset()
            assert notes == [1] and rig.cloud.statuses()[id][0] == "succeeded"


async def test_p3_outcomes_that_the_cloud_has_forgotten_do_not_hold_up_new_ones():
    with Scratch() as folder:
        program, _ = ledger()
        async with Rig(program, folder) as rig:
            await rig.start()
            rig.cloud.silent.append("command/update")
            for number in range(6):
                rig.cloud.insert("blink", number)
                await rig.clock.settle()
            old = [entry["id"] for entry in rig.cloud.commands]
            rig.cloud.silent.clear()
            rig.cloud.forgotten = old
            await rig.reset()
            assert rig.board.online and not rig.cloud.updates
            id = rig.cloud.insert("blink", 7)
            await rig.clock.settle()
            assert rig.cloud.statuses() == {id: ["succeeded"]}
