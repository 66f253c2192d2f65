"""Each field of the documented `command/insert` body, and what it does on the board."""

from agent.clock import format_iso8601
from host_tests.rig import Rig, blinking


async def test_field_command_a_name_without_handler_is_unknown_and_the_names_are_told():
    async with Rig() as rig:
        blinking(rig)
        await rig.start()
        id = rig.cloud.insert("blnk")
        await rig.clock.settle()
        assert rig.cloud.updates[0][:2] == (id, "unknown")
        assert "blink" in rig.cloud.updates[0][2]["error"]


async def test_field_command_absent_is_answered_unknown():
    async with Rig() as rig:
        await rig.start()
        id = rig.cloud.insert(None)
        await rig.clock.settle()
        assert rig.cloud.statuses() == {id: ["unknown"]}


async def test_field_command_may_have_slashes():
    async with Rig() as rig:
        rig.board.command("gpio/write")(lambda command: command.name)
        await rig.start()
        id = rig.cloud.insert("gpio/write")
        await rig.clock.settle()
        assert rig.cloud.updates == [(id, "succeeded", "gpio/write")]


async def test_field_parameters_that_do_not_fit_are_rejected_by_name():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        for wrong in ({"times": 500}, {"times": "3"}, {}, None, [3], {"times": 3, "speed": 1}):
            rig.cloud.insert("blink", wrong)
            await rig.clock.settle()
        assert not ran
        assert [status for _, status, _ in rig.cloud.updates] == ["rejected"] * 6
        errors = [result["error"] for _, _, result in rig.cloud.updates]
        assert errors[0] == "times: 500 came, an integer from 1 to 100 fits"
        assert errors[2] == errors[3] == "times is missing: an integer from 1 to 100 fits"
        assert errors[5] == "speed is not a parameter of blink"


async def test_field_parameters_of_any_json_type_reach_a_handler_that_declares_none():
    async with Rig() as rig:
        rig.board.command("echo")(lambda command: [command.parameters])
        await rig.start()
        sent = [None, 5, 1.5, "text", [1, [2]], {"a": {"b": None}}, True]
        for parameters in sent:
            rig.cloud.insert("echo", parameters)
            await rig.clock.settle()
        assert [result for _, _, result in rig.cloud.updates] == [[one] for one in sent]


async def test_field_timestamp_and_lifetime_p2_past_the_deadline_it_never_runs():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        old = format_iso8601(rig.cloud.server_ms() - 31000)
        late = rig.cloud.insert("blink", {"times": 1}, 30, timestamp=old)
        exact = format_iso8601(rig.cloud.server_ms() - 30000)
        edge = rig.cloud.insert("blink", {"times": 1}, 30, timestamp=exact)
        await rig.clock.settle()
        assert not ran
        assert rig.cloud.statuses() == {late: ["expired"], edge: ["expired"]}


async def test_field_timestamp_p2_a_millisecond_before_the_deadline_it_runs():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        stamp = format_iso8601(rig.cloud.server_ms() - 29999)
        id = rig.cloud.insert("blink", {"times": 1}, 30, timestamp=stamp)
        await rig.clock.settle()
        assert len(ran) == 1
        assert rig.cloud.statuses() == {id: ["succeeded"]}


async def test_field_timestamp_p2_counts_on_the_servers_clock_not_the_boards():
    async with Rig() as rig:
        ran = blinking(rig)
        rig.cloud.ahead_ms = 3600000
        await rig.start()
        fresh = rig.cloud.insert("blink", {"times": 1}, 10)
        boards = format_iso8601(rig.cloud.server_ms() - 3600000)
        stale = rig.cloud.insert("blink", {"times": 1}, 10, timestamp=boards)
        await rig.clock.settle()
        assert len(ran) == 1
        assert rig.cloud.statuses() == {fresh: ["succeeded"], stale: ["expired"]}


async def test_field_timestamp_in_the_future_counts_as_now():
    async with Rig() as rig:
        left = []
        rig.board.command("left")(lambda command: left.append(command.remaining_ms()))
        await rig.start()
        ahead = format_iso8601(rig.cloud.server_ms() + 3600000)
        rig.cloud.insert("left", None, 10, timestamp=ahead)
        await rig.clock.settle()
        assert left == [10000]


async def test_field_timestamp_that_is_no_time_is_rejected():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.cloud.push(rig.cloud.entry("blink", {"times": 1}, timestamp="yesterday"))
        await rig.clock.settle()
        assert not ran
        assert rig.cloud.updates[0][1] == "rejected"
        assert "yesterday" in rig.cloud.updates[0][2]["error"]


async def test_field_lifetime_absent_means_for_ever():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        old = format_iso8601(rig.cloud.server_ms() - 100000000)
        rig.cloud.insert("blink", {"times": 1}, None, timestamp=old)
        await rig.clock.settle()
        assert len(ran) == 1 and ran[0].remaining_ms() is None


async def test_field_lifetime_absent_means_the_owners_limit_where_there_is_one():
    async with Rig(limits={"lifetime": 60}) as rig:
        ran = blinking(rig)
        await rig.start()
        old = format_iso8601(rig.cloud.server_ms() - 61000)
        id = rig.cloud.insert("blink", {"times": 1}, None, timestamp=old)
        await rig.clock.settle()
        assert not ran
        assert rig.cloud.statuses() == {id: ["expired"]}


async def test_field_lifetime_zero_or_less_is_expired_and_not_a_number_rejected():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        sent = [rig.cloud.insert("blink", {"times": 1}, lifetime) for lifetime in (0, -1)]
        odd = [rig.cloud.insert("blink", {"times": 1}, one) for one in ("30", 1.5, True, [])]
        await rig.clock.settle()
        assert not ran
        statuses = rig.cloud.statuses()
        assert [statuses[id] for id in sent] == [["expired"]] * 2
        assert [statuses[id] for id in odd] == [["rejected"]] * 4


async def test_field_status_a_command_inserted_with_one_runs_all_the_same():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        id = rig.cloud.insert("blink", {"times": 2}, status="new", result={"draft": True})
        await rig.clock.settle()
        assert ran[0].cloud["status"] == "new"
        assert ran[0].cloud["result"] == {"draft": True}
        assert rig.cloud.updates == [(id, "succeeded", {"blinked": 2})]


async def test_the_platforms_own_fields_reach_the_handler():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        id = rig.cloud.insert("blink", {"times": 1}, 30)
        await rig.clock.settle()
        command = ran[0]
        assert (command.id, command.name, command.device) == (id, "blink", "dev-1")
        assert (command.lifetime, command.cloud["userId"]) == (30, 1)
        assert command.timestamp == rig.cloud.server_ms()
