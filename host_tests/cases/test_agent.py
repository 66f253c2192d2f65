"""A command's whole way through the agent, from the push to the update, on fake time."""

from errno import ECONNREFUSED

from agent import Rejected
from host_tests.rig import Rig, blinking


async def test_a_command_runs_and_is_answered_with_status_and_result():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        id = rig.cloud.insert("blink", {"times": 3}, 30)
        await rig.clock.settle()
        assert len(ran) == 1
        assert rig.cloud.updates == [(id, "succeeded", {"blinked": 3})]


async def test_a_handler_that_raises_fails_and_the_next_command_runs():
    async with Rig() as rig:
        ran = blinking(rig)

        @rig.board.command("burn")
        async def burn(command):
            raise ValueError("too hot")

        @rig.board.command("refuse")
        def refuse(command):
            raise Rejected("not on a Sunday")

        await rig.start()
        burnt, refused = rig.cloud.insert("burn"), rig.cloud.insert("refuse")
        good = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        answers = {id: (status, result) for id, status, result in rig.cloud.updates}
        assert answers[burnt] == ("failed", {"error": "ValueError: too hot"})
        assert answers[refused] == ("rejected", {"error": "not on a Sunday"})
        assert answers[good][0] == "succeeded" and len(ran) == 1


async def test_p3_a_result_that_json_cannot_carry_fails_with_the_reason():
    async with Rig() as rig:
        results = [float("nan"), {1: 2}, {"a": {1, 2}}, b"bytes", object()]
        rig.board.command("odd")(lambda command: results[command.parameters])
        await rig.start()
        for index in range(len(results)):
            rig.cloud.insert("odd", index)
            await rig.clock.settle()
        assert [status for _, status, _ in rig.cloud.updates] == ["failed"] * len(results)
        for _, _, result in rig.cloud.updates:
            assert "can't be sent" in result["error"]


async def test_p3_a_result_over_the_limit_fails_and_says_so():
    async with Rig(limits={"payload": 1000}) as rig:
        rig.board.command("long")(lambda command: "x" * 2000)
        await rig.start()
        id = rig.cloud.insert("long")
        await rig.clock.settle()
        assert rig.cloud.updates[0][:2] == (id, "failed")
        assert "limits.payload is 1000" in rig.cloud.updates[0][2]["error"]


async def test_p1_a_push_that_comes_twice_runs_once_and_is_answered_once():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        entry = rig.cloud.entry("blink", {"times": 1})
        for _ in range(3):
            rig.cloud.push(entry)
            await rig.clock.settle()
        assert len(ran) == 1
        assert rig.cloud.statuses() == {entry["id"]: ["succeeded"]}


async def test_p1_a_push_that_comes_again_while_the_first_waits_runs_once():
    async with Rig() as rig:
        ran = []

        @rig.board.command("slow")
        async def slow(command):
            ran.append(command.id)
            await rig.clock.sleep_ms(1000)

        await rig.start()
        first, waiting = rig.cloud.entry("slow"), rig.cloud.entry("slow")
        for entry in (first, waiting, waiting):
            rig.cloud.push(entry)
            await rig.clock.settle()
        await rig.clock.advance(5000)
        assert ran == [first["id"], waiting["id"]]
        assert rig.cloud.statuses() == {id: ["succeeded"] for id in ran}


async def test_p1_two_commands_of_one_id_and_different_times_are_two():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.cloud.push(rig.cloud.entry("blink", {"times": 1}, id=7))
        await rig.clock.advance(10)
        rig.cloud.push(rig.cloud.entry("blink", {"times": 2}, id=7))
        # The server finds the first one by that id; a list has both.
        await rig.clock.advance(1000)
        assert [command.parameters["times"] for command in ran] == [1, 2]


async def test_p1_memory_of_ids_is_bounded_and_what_was_forgotten_does_not_run_again():
    async with Rig(limits={"ids": 4}) as rig:
        ran = blinking(rig)
        await rig.start()
        entries = []
        for _ in range(10):
            entries.append(rig.cloud.entry("blink", {"times": 1}))
            rig.cloud.push(entries[-1])
            await rig.clock.advance(10)
        for entry in entries:
            rig.cloud.push(entry)
        await rig.clock.settle()
        assert len(ran) == 10


async def test_progress_is_reported_only_where_it_is_switched_on():
    for switched in (False, True):
        async with Rig(progress=switched) as rig:

            @rig.board.command("count")
            async def count(command):
                for done in (1, 2):
                    command.progress({"done": done})
                    await rig.clock.sleep_ms(1000)
                return "counted"

            await rig.start()
            rig.cloud.insert("count")
            await rig.clock.advance(5000)
            statuses = [status for _, status, _ in rig.cloud.updates]
            expected = ["running", "running", "succeeded"] if switched else ["succeeded"]
            assert statuses == expected


async def test_a_command_from_the_board_itself_takes_the_same_way_and_stays_here():
    async with Rig() as rig:
        blinking(rig)
        rig.transport.refusals = [OSError(ECONNREFUSED)] * 100
        await rig.start()
        good = await rig.board.submit("blink", {"times": 4})
        wrong = await rig.board.submit("blink", {"times": 0})
        assert (good.status, good.result) == ("succeeded", {"blinked": 4})
        assert wrong.status == "rejected"
        assert rig.board._outbox.empty and not rig.board.online


async def test_the_owner_hears_of_online_offline_and_outcomes():
    async with Rig() as rig:
        blinking(rig)
        heard = []
        rig.board.on("online", lambda: heard.append("online"))
        rig.board.on("offline", lambda: heard.append("offline"))
        rig.board.on("outcome", lambda outcome: heard.append(outcome.status))
        rig.board.on("outcome", lambda outcome: 1 / 0)
        await rig.start()
        rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        rig.transport.cut()
        await rig.clock.settle()
        assert heard[:3] == ["online", "succeeded", "offline"]


async def test_until_idle_returns_once_all_is_answered():
    async with Rig() as rig:
        blinking(rig)
        import asyncio

        task = asyncio.create_task(rig.board._until_idle())
        await rig.clock.settle()
        rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(200)
        assert task.done()
        assert rig.cloud.updates[0][1] == "succeeded" and not rig.transport.connected


def oversized(rig, text):
    """Have the agent receive what is kept of a message that was over its limit."""
    data = text.encode()
    rig.transport.push("dh/command/1/1/dev-1/gpio/write", (data[:512], data[512:][-512:]))


async def test_p3_a_command_over_the_limit_is_answered_too_large():
    async with Rig() as rig:
        await rig.start()
        id = rig.cloud.insert("gpio/write", {"id": 5, "data": "x" * 9000})
        await rig.clock.settle()
        assert rig.cloud.statuses() == {id: ["too_large"]}


async def test_p1_a_stranger_s_message_over_the_limit_answers_for_no_command():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        held = rig.cloud.entry("blink", {"times": 1})
        rig.cloud.commands.append(held)
        rig.cloud.spoof(dict(held, parameters={"times": 1, "data": "x" * 9000}))
        await rig.clock.settle()
        assert len(ran) == 1 and rig.cloud.statuses() == {held["id"]: ["succeeded"]}


async def test_p3_what_was_cut_off_too_early_is_answered_for_no_other_command():
    async with Rig() as rig:
        await rig.start()
        for text in (
            '{"action":"command/insert","command":{"parameters":{"id":5,"data":"' + "x" * 9000,
            '{"action":"command/insert","command":{"id":"seven',
            '{"action":"command/insert","command":{"id":',
            "",
        ):
            oversized(rig, text)
        await rig.clock.settle()
        assert rig.cloud.updates == [] and rig.board.online


async def test_p4_a_part_that_fails_for_want_of_memory_goes_on():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        real, failures = rig.board._runner._go_through, []

        def start():
            if not failures:
                failures.append(1)
                raise MemoryError
            real()

        rig.board._runner._go_through = start
        id = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(2000)
        assert failures and len(ran) == 1
        assert rig.cloud.statuses() == {id: ["succeeded"]}


async def test_telemetry_is_sent_while_online_and_refused_otherwise():
    async with Rig() as rig:
        await rig.start()
        assert rig.board.notify("temperature", {"c": 21.5}) is True
        assert rig.cloud.notifications[1:] == [("temperature", {"c": 21.5})]
        rig.transport.backlog = 100000
        assert rig.board.notify("temperature", {"c": 22}) is False
        rig.transport.backlog = 0
        try:
            rig.board.notify("odd", {1, 2})
        except ValueError as e:
            assert "JSON has no set" in str(e)
        else:
            raise AssertionError("a set was sent")
        rig.transport.cut()
        await rig.clock.settle()
        assert rig.board.notify("temperature", 1) is False
        assert len(rig.cloud.notifications) == 2
