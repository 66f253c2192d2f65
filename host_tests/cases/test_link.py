"""Log-in, loss and return: what the agent does while the cloud comes and goes."""

from errno import EACCES, ECONNREFUSED

from agent import log
from host_tests.rig import Rig, blinking

MINUTE_MS = 60000


async def test_opening_takes_the_steps_in_the_order_that_the_broker_accepts():
    async with Rig() as rig:
        await rig.start()
        steps = ["server/info", "device/get", "device/save", "subscription/list"]
        assert rig.cloud.requests[:6] == steps + ["notification/insert", "command/list"]
        wanted = ["dh/command/+/+/dev-1/#", "dh/command_update/+/+/dev-1/#"]
        assert rig.transport.topics[-2:] == wanted
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
        assert rig.cloud.record["data"] == {"where": "cellar", "commands": {}}
        assert rig.cloud.record["networkId"] == 7


async def test_a_device_that_is_stored_as_wanted_is_not_saved_again():
    async with Rig() as rig:
        data = {"commands": {"ping": None}}
        rig.cloud.record = {"name": "dev-1", "data": data, "networkId": 7, "deviceTypeId": 1}
        rig.board.command("ping")(print)
        await rig.start()
        assert "device/save" not in rig.cloud.requests
        assert rig.board.online


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
        rig.transport.refusals = [OSError(ECONNREFUSED)] * 100
        rig.transport.cut()
        await rig.clock.settle()
        id = rig.cloud.insert("blink", {"times": 1}, 1)
        await rig.clock.advance(1500)
        rig.transport.refusals.clear()
        await rig.clock.advance(130000)
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
        await rig.clock.advance(20 * MINUTE_MS)
        # On average each minute; fewer than one in two minutes would be against the rule.
        assert len(rig.transport.endpoints) - early >= 10
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


async def test_p4_a_list_without_answer_does_not_end_the_session():
    async with Rig() as rig:
        rig.cloud.silent.append("command/list")
        await rig.start()
        await rig.clock.advance(11000)
        assert rig.board.online and len(rig.transport.endpoints) == 1


async def test_p3_a_list_that_failed_is_asked_for_again_and_nothing_is_missed():
    async with Rig() as rig:
        ran = blinking(rig)
        await rig.start()
        await rig.clock.advance(6000)
        rig.cloud.refused["command/list"] = (500, "Internal")
        rig.transport.cut()
        await rig.clock.settle()
        missed = rig.cloud.insert("blink", {"times": 1})
        await rig.clock.advance(70000)
        assert rig.board.online and not ran
        rig.cloud.refused.clear()
        await rig.clock.advance(61000)
        assert len(ran) == 1
        assert rig.cloud.statuses() == {missed: ["succeeded"]}
