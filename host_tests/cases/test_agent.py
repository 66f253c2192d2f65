"""A command's whole way through the agent, from the push to the update, on fake time."""

from errno import EACCES, ECONNREFUSED

from agent import Rejected, log
from agent.clock import format_iso8601
from host_tests.rig import Rig

MINUTE_MS = 60000


def blinking(rig):
    """Register a handler that notes its commands; return the notes."""
    ran = []

    @rig.board.command("blink", params={"times": (int, 1, 100)})
    def blink(command):
        ran.append(command)
        return {"blinked": command.parameters["times"]}

    return ran


async def test_a_command_runs_and_is_answered_with_status_and_result():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        id = rig.cloud.insert("blink", {"times": 3}, 30)
        await rig.clock.settle()
        assert len(ran) == 1
        assert rig.cloud.updates == [(id, "succeeded", {"blinked": 3})]


async def test_opening_takes_the_steps_in_the_order_that_the_broker_accepts():
    async with Rig() as rig:
        await rig.start()
        steps = ["server/info", "device/get", "device/save", "command/list"]
        assert rig.cloud.requests == steps
        assert rig.transport.topics[-1] == "dh/command/+/+/dev-1/#"
        client = rig.transport.endpoints[0]["client_id"]
        assert "dh/response/command/update@" + client in rig.transport.topics
        assert rig.transport.endpoints[0]["user"] == "dhuser"


async def test_a_token_logs_in_before_anything_else_is_subscribed():
    own = {"host": "devicehive.test", "refresh_token": "refresh"}
    async with Rig(devicehive=own) as rig:
        await rig.start()
        assert rig.cloud.requests[:3] == ["token/refresh", "authenticate", "server/info"]
        assert "user" not in rig.transport.endpoints[0]
        first = [topic.split("@")[0] for topic in rig.transport.topics[:3]]
        assert first[:2] == ["dh/response/token/refresh", "dh/response/authenticate"]
        assert rig.board.online


async def test_saving_the_device_keeps_the_data_that_is_stored():
    async with Rig(device={"id": "dev-1", "name": "Pump"}) as rig:
        rig.cloud.record = {"name": "Old", "data": {"where": "cellar"}, "networkId": 7}
        await rig.start()
        assert rig.cloud.record["name"] == "Pump"
        assert rig.cloud.record["data"] == {"where": "cellar"}


async def test_a_device_that_is_stored_as_wanted_is_not_saved_again():
    async with Rig() as rig:
        rig.cloud.record = {"name": "dev-1", "data": None, "networkId": 7, "deviceTypeId": 1}
        await rig.start()
        assert "device/save" not in rig.cloud.requests
        assert rig.board.online


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
        await rig.clock.settle()
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


async def test_after_a_loss_it_comes_back_and_catches_up_without_repeating():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        before = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        rig.transport.cut()
        await rig.clock.settle()
        assert not rig.board.online
        missed = rig.cloud.insert("blink", {"times": 2}, 30)
        await rig.clock.advance(1000)
        assert rig.board.online
        assert rig.cloud.statuses() == {before: ["succeeded"], missed: ["succeeded"]}
        assert len(ran) == 2


async def test_each_session_has_a_client_id_of_its_own():
    async with Rig() as rig:
        await rig.start()
        for _ in range(3):
            rig.transport.cut()
            await rig.clock.advance(10 * MINUTE_MS)
        ids = [endpoint["client_id"] for endpoint in rig.transport.endpoints]
        assert len(ids) >= 4 and len(set(ids)) == len(ids)


async def test_a_command_that_expired_during_the_outage_is_answered_and_not_run():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.transport.refusals = [OSError(ECONNREFUSED)] * 3
        rig.transport.cut()
        await rig.clock.settle()
        id = rig.cloud.insert("blink", {"times": 1}, 1)
        await rig.clock.advance(30000)
        assert not ran
        assert rig.cloud.statuses() == {id: ["expired"]}


async def test_commands_from_before_the_start_are_not_run():
    # A reset may have cut them off in the middle; only a memory of that could tell.
    async with Rig() as rig:
        ran = blinking(rig)
        rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(1)
        await rig.start()
        assert rig.board.online and not ran and not rig.cloud.updates


async def test_p3_outcomes_wait_for_the_cloud_and_arrive_after_the_outage():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.cloud.silent.append("command/update")
        id = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        assert len(ran) == 1 and not rig.cloud.updates
        rig.transport.cut()
        rig.cloud.silent.remove("command/update")
        await rig.clock.advance(2000)
        assert rig.cloud.updates == [(id, "succeeded", {"blinked": 1})]


async def test_p4_an_update_without_answer_lets_others_pass_and_is_given_up_in_the_end():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        rig.cloud.silent.append("command/update")
        rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(11000)
        rig.cloud.silent.remove("command/update")
        second = rig.cloud.insert("blink", {"times": 2})
        await rig.clock.settle()
        assert rig.cloud.statuses() == {second: ["succeeded"]}
        await rig.clock.advance(20000)
        assert len(rig.cloud.statuses()) == 2
        rig.cloud.silent.append("command/update")
        rig.cloud.insert("blink", {"times": 3})
        await rig.clock.advance(4 * MINUTE_MS)
        assert rig.board._outbox.empty and rig.board._outbox.dropped == 1
        assert len(ran) == 3 and rig.board.online


async def test_p4_a_full_outbox_gives_up_the_oldest_and_says_so():
    async with Rig(limits={"outbox": 2}) as rig:
        blinking(rig)
        await rig.start()
        rig.cloud.silent.append("command/update")
        sent = []
        for _ in range(3):
            sent.append(rig.cloud.insert("blink", {"times": 1}))
            await rig.clock.settle()
        assert rig.board._outbox.dropped == 1
        assert "the outbox is full" in rig.said(log.ERROR)[-1]
        rig.cloud.silent.remove("command/update")
        await rig.clock.advance(MINUTE_MS)
        assert rig.cloud.statuses() == {sent[1]: ["succeeded"], sent[2]: ["succeeded"]}
        assert rig.board._outbox.empty


async def test_an_update_that_is_refused_for_good_is_counted_and_logged():
    async with Rig() as rig:
        blinking(rig)
        await rig.start()
        rig.cloud.refused["command/update"] = (404, "Command with id = 1 not found")
        rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        assert rig.board._outbox.dropped == 1 and rig.board._outbox.empty
        assert "not found" in rig.said(log.ERROR)[-1]


async def test_an_update_refused_for_an_ended_log_in_is_sent_by_the_next_session():
    async with Rig() as rig:
        blinking(rig)
        await rig.start()
        rig.cloud.refused["command/update"] = (401, "Unauthorized")
        id = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        assert not rig.board.online
        rig.cloud.refused.clear()
        await rig.clock.advance(2 * MINUTE_MS)
        assert rig.cloud.updates == [(id, "succeeded", {"blinked": 1})]


async def test_a_wrong_password_is_told_once_an_attempt_and_tried_slowly():
    async with Rig() as rig:
        refusal = OSError(EACCES, "the broker refused the login: check the login")
        rig.transport.refusals = [refusal] * 100
        await rig.start()
        await rig.clock.advance(30 * MINUTE_MS)
        assert len(rig.transport.endpoints) < 7
        lines = rig.said(log.WARNING)
        assert len(lines) == len(rig.transport.endpoints)
        assert "refused the login" in lines[0] and "devicehive.test:1883" in lines[0]


async def test_an_unreachable_host_is_tried_again_at_most_each_two_minutes():
    async with Rig() as rig:
        rig.transport.refusals = [OSError(ECONNREFUSED)] * 1000
        await rig.start()
        await rig.clock.advance(MINUTE_MS)
        early = len(rig.transport.endpoints)
        assert 4 <= early <= 40
        await rig.clock.advance(120 * MINUTE_MS)
        assert len(rig.transport.endpoints) - early >= 50
        assert "devicehive.test:1883" in rig.said(log.WARNING)[0]


async def test_p4_messages_that_make_no_sense_do_not_end_the_session():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        topic = "dh/command/1/1/dev-1/blink"
        for junk in (b"", b"{", b"[]", b"5", b'{"action": "command/insert"}', b"\xff\xfe"):
            rig.transport.push(topic, junk)
        rig.transport.push("dh/response/server/info@x", b"null")
        rig.transport.push("something/else", b"{}")
        id = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.settle()
        assert len(ran) == 1 and rig.cloud.statuses() == {id: ["succeeded"]}
        assert len(rig.transport.endpoints) == 1


async def test_a_server_that_fell_silent_behind_its_broker_is_noticed():
    async with Rig() as rig:
        await rig.start()
        rig.cloud.silent.append("server/info")
        await rig.clock.advance(80000)
        assert len(rig.transport.endpoints) > 1
        rig.cloud.silent.clear()
        await rig.clock.advance(10 * MINUTE_MS)
        assert rig.board.online


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
    """Have the agent receive the first bytes of a message that was over its limit."""
    rig.transport.push("dh/command/1/1/dev-1/gpio/write", (text.encode()[:500],))


async def test_p3_a_command_over_the_limit_is_answered_too_large():
    async with Rig() as rig:
        await rig.start()
        oversized(
            rig,
            '{"action":"command/insert","command":{"id":77,"command":"gpio/write",'
            '"timestamp":"2026-11-21T09:27:04.031","parameters":{"id":5,"data":"' + "x" * 9000,
        )
        await rig.clock.settle()
        assert rig.cloud.statuses() == {77: ["too_large"]}


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


async def test_p4_a_list_over_the_limit_does_not_end_the_session():
    async with Rig() as rig:
        rig.cloud.silent.append("command/list")
        await rig.start()
        client = rig.transport.endpoints[0]["client_id"]
        head = '{"action":"command/list","requestId":4,"status":"success","commands":[{'
        rig.transport.push("dh/response/command/list@" + client, (head.encode(),))
        await rig.clock.settle()
        assert rig.board.online


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
