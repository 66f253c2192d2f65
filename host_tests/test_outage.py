"""Outages between a real agent and the hub: what was sent meanwhile, and what was under way.

HEED_OUTAGE_S=60 makes the first one as long as somebody looks for the cable; it needs
`-o case_seconds=300` then.
"""

import asyncio
import os
import time

import pytest

from host_tests.stage import Stage

OUTAGE_S = float(os.environ.get("HEED_OUTAGE_S", "3"))
# The server keeps what it is told for two minutes; some of them go by before the next dial.
REMEMBERED_S = 115

KEEPALIVE_S = 5


@pytest.mark.parametrize("bits", [32, 64])
async def test_ten_commands_of_an_outage_are_run_or_expired_once(tmp_path, bits):
    async with Stage(tmp_path, bits) as stage:
        await stage.start_agent()
        before = await stage.insert("note", {"n": "before"}, 30)
        await stage.outcomes([before])
        seen = stage.said
        await stage.relay.cut()
        cut = time.monotonic()
        ids = []
        for n in range(10):
            ids.append(
                await stage.insert("note", {"n": n}, 1 if n % 2 else (300, None)[n % 4 // 2])
            )
            await asyncio.sleep(OUTAGE_S / 10)
        gone_s = time.monotonic() - cut
        await stage.relay.mend()
        await stage.says("online as dev-1", seen, 3 * OUTAGE_S + 20)
        away_s = time.monotonic() - cut
        print("outage %.1f s, online again after %.1f s" % (gone_s, away_s))
        kept = [n for n in range(10) if away_s - n * OUTAGE_S / 10 < REMEMBERED_S]
        found = dict(zip(kept, await stage.outcomes([ids[n] for n in kept]), strict=True))
        assert len(found) == 10 or OUTAGE_S > 30
        for n, (status, result) in found.items():
            if n % 2 == 0:
                assert (status, result) == ("succeeded", {"n": n})
            elif n * OUTAGE_S / 10 + 1 < OUTAGE_S:
                assert status == "expired" and not stage.starts(ids[n])
            else:
                assert status in ("expired", "succeeded")
        assert any(status == "expired" for status, _ in found.values())


async def test_more_commands_than_the_queue_holds_run_in_the_order_of_their_times(tmp_path):
    async with Stage(tmp_path) as stage:
        await stage.start_agent()
        seen = stage.said
        await stage.relay.cut()
        ids = [await stage.insert("note", {"n": n}) for n in range(40)]
        await stage.relay.mend()
        await stage.says("online as dev-1", seen)
        outcomes = await stage.outcomes(ids)
        assert outcomes == [("succeeded", {"n": n}) for n in range(40)]
        times = [stage.commands[id].timestamp for id, _ in stage.starts()]
        assert len(times) == 40 and times == sorted(times)


async def test_a_hub_that_is_away_behind_something_that_answers_is_found_again_soon(tmp_path):
    """As behind a proxy, which takes a connection and closes it: no reason to fear for the login."""
    async with Stage(tmp_path) as stage:
        await stage.start_agent()
        await stage.hub.stop()
        await stage.until(lambda: stage.place.agent.output.count("next try in") >= 4)
        await stage.hub.start()
        seen = stage.said
        # Whatever the back-off draws: the fourth pause has at most 8 s.
        await stage.says("online as dev-1", seen, 20)
        (outcome,) = await stage.outcomes([await stage.insert("note", {"n": 1})])
        assert outcome == ("succeeded", {"n": 1})


@pytest.mark.parametrize("bits", [32, 64])
async def test_p3_a_hub_that_is_away_while_handlers_end_hears_of_all_of_them(tmp_path, bits):
    async with Stage(tmp_path, bits) as stage:
        await stage.start_agent()
        ids = [await stage.insert("hold"), await stage.insert("hold", None, 2)]
        await stage.started(ids[0])
        ids.append(await stage.insert("newest"))
        await stage.started(ids[2])
        await stage.hub.stop()
        await stage.says(r"WARNING session: .*; next try in")
        seen = stage.said
        # The one that waits behind the first runs out of its lifetime meanwhile.
        await stage.says("outbox: hold %d expired" % ids[1])
        stage.release()
        await stage.says("outbox: hold %d succeeded" % ids[0])
        assert not stage.updates
        await stage.hub.start()
        await stage.says("online as dev-1", seen)
        held, waiting, newest = await stage.outcomes(ids)
        assert held == newest == ("succeeded", "held")
        assert waiting[0] == "expired" and not stage.starts(ids[1])


async def test_p4_a_half_open_link_is_noticed_within_one_and_a_half_keepalives(tmp_path):
    async with Stage(tmp_path) as stage:
        await stage.start_agent(keepalive=KEEPALIVE_S)
        holding = await stage.insert("hold")
        await stage.started(holding)
        seen = stage.said
        stage.relay.stall()
        stalled = time.monotonic()
        # One that no push brings, and one whose update goes nowhere.
        ids = [holding, await stage.insert("note", {"n": 1}), await stage.insert("note", {}, 1)]
        await stage.says("silent for 1.5 times the keepalive", seen)
        noticed_s = time.monotonic() - stalled
        # What it dials now takes the connection and says nothing.
        dialled = stage.relay.dialled
        await stage.until(lambda: stage.relay.dialled > dialled)
        assert len(stage.updates) == 0
        await stage.relay.mend()
        await stage.says("online as dev-1", seen)
        stage.release()
        held, noted, expired = await stage.outcomes(ids)
        assert (held, noted) == (("succeeded", "held"), ("succeeded", {"n": 1}))
        assert expired[0] == "expired"
        print("noticed after %.1f s" % noticed_s)
        # A second for the machine, which has other things to do.
        assert noticed_s < 1.5 * KEEPALIVE_S + 1


async def test_p3_an_outcome_that_fell_into_a_half_open_link_is_told_again(tmp_path):
    async with Stage(tmp_path) as stage:
        await stage.start_agent(keepalive=KEEPALIVE_S)
        holding = await stage.insert("hold")
        await stage.started(holding)
        stage.relay.stall()
        stage.release()
        await stage.says("outbox: hold %d succeeded" % holding)
        await stage.says("silent for 1.5 times the keepalive")
        assert not stage.updates
        seen = stage.said
        await stage.relay.mend()
        await stage.says("online as dev-1", seen)
        assert await stage.outcomes([holding]) == [("succeeded", "held")]


async def test_p3_a_command_longer_than_the_servers_memory_is_kept_alive_and_answered(tmp_path):
    """The server's clock makes two jumps of 100 s; it forgets after 120 s without an update.

    The board hears of the first one at the round five seconds after it came online. The rhythm
    of a minute is for fake time, in cases/test_devicehive.py.
    """
    async with Stage(tmp_path) as stage:
        await stage.start_agent()
        holding = await stage.insert("hold")
        await stage.started(holding)
        stage.clock.ahead_s += 100
        await stage.until(lambda: (holding, "running", "null") in stage.updates)
        stage.clock.ahead_s += 100
        stage.release()
        assert await stage.outcomes([holding]) == [("succeeded", "held")]


async def take_back(stage, id, status="cancelled"):
    path = "device/dev-1/command/%d" % id
    await stage.rest._call("PUT", path, {"status": status})


@pytest.mark.parametrize("bits", [32, 64])
async def test_a_command_that_is_taken_back_by_rest_ends_where_it_runs_and_where_it_waits(
    tmp_path, bits
):
    async with Stage(tmp_path, bits) as stage:
        await stage.start_agent()
        running = await stage.insert("hold")
        await stage.started(running)
        waiting = await stage.insert("hold")
        await stage.says("intake: hold %d" % waiting)
        await take_back(stage, waiting)
        (outcome,) = await stage.outcomes([waiting])
        assert outcome == ("cancelled", {"error": "the cloud took it back"})
        await take_back(stage, running, "canceled")
        (outcome,) = await stage.outcomes([running])
        assert outcome == ("cancelled", {"error": "the cloud took it back"})
        await stage.says("^CANCELLED %d" % running)
        assert stage.starts() == stage.starts(running)


async def test_a_command_that_is_taken_back_during_an_outage_ends_after_it(tmp_path):
    async with Stage(tmp_path) as stage:
        await stage.start_agent()
        running = await stage.insert("hold")
        await stage.started(running)
        await stage.relay.cut()
        await stage.says("WARNING session")
        await take_back(stage, running)
        never = await stage.insert("hold")
        await take_back(stage, never)
        await stage.relay.mend()
        (outcome,) = await stage.outcomes([running])
        assert outcome == ("cancelled", {"error": "the cloud took it back"})
        assert not stage.starts(never)


async def test_neither_its_own_updates_nor_other_statuses_cancel_anything(tmp_path):
    async with Stage(tmp_path) as stage:
        await stage.start_agent()
        replaced = await stage.insert("newest")
        await stage.started(replaced)
        # The first is cancelled by the second: the echo of that must not end the second.
        newest = await stage.insert("newest")
        await stage.started(newest)
        (outcome,) = await stage.outcomes([replaced])
        assert outcome[0] == "cancelled"
        echo = await stage.insert("note", {"status": "cancelled"})
        assert (await stage.outcomes([echo]))[0][0] == "succeeded"
        await take_back(stage, newest, "paused")
        after = await stage.insert("note", {"n": 1})
        await stage.outcomes([after])
        stage.release()
        assert await stage.outcomes([newest]) == [("succeeded", "held")]
        assert stage.place.agent.output.count("CANCELLED") == 1
