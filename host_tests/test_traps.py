"""A real agent comes through each trap of the hub: at most once, never late, always answered.

Every test makes sure that the trap was met, and ends with `judge`, which holds all that was sent
and started against the promises. tools/hub/TRAPS.md has the traps; the strangers of `spoof` have
test_traps_spoof.py for themselves.
"""

import re
import signal
import time

from host_tests import trap_stage
from host_tests.mqtt_client import Client
from host_tests.trap_stage import story, until

BOTH = (32, 64)
HOUR = 3600

# How the agent spells its filter as long as no server has fallen silent.
SPELLED = "dh/command/+/+/dev-1/#"


company = trap_stage.company


# Pushes and answers


@story("double=3", bits=BOTH)
async def test_double(stage):
    board = await stage.board()
    sent = stage.mix()
    await board.says("was seen before", 2 * len(sent))
    await stage.judge()


@story("out-of-order", bits=BOTH)
async def test_out_of_order(stage):
    board = await stage.board()
    sent = [stage.send(lifetime=30) for _ in range(5)]
    await stage.settled()
    taken = [line.split()[-1] for line in board.child.lines if "intake: quick" in line]
    assert taken == [str(command.id) for command in reversed(sent)]
    await stage.judge()


@story("unavailable")
async def test_unavailable(stage):
    board = await stage.board(token=True)
    assert stage.witness.codes("token/refresh") == [503, 500, 200]
    sent = stage.mix()
    for command in sent:
        await until(
            lambda one=command: stage.witness.codes("command/update", one) == [503, 500, 200],
            lambda one=command: str(stage.witness.codes("command/update", one)),
        )
    assert board.count("is not taken") == 2 * len(sent)
    await stage.judge()


@story("late-store", bits=BOTH)
async def test_late_store(stage):
    await stage.board()
    sent = stage.mix()
    await stage.settled()
    for command in sent:
        assert stage.witness.codes("command/get", command) == [404]
    # It did not have to wait for a round.
    assert stage.witness.codes("subscription/list") == [200]
    await stage.judge()


@story("late-store=3")
async def test_late_store_that_outlasts_the_first_look(stage):
    board = await stage.board()
    sent = stage.mix()
    await board.says("but the server has no such command", len(sent))
    await stage.settled()
    assert [stage.status(command) for command in sent].count("expired") == 1
    await stage.judge()


# Subscriptions


@story("zombie")
async def test_zombie(stage):
    await stage.board()
    for number in (1, 2):
        sent = [stage.send(lifetime=lifetime) for lifetime in (None, 60, None, 2)]
        await stage.settled()
        # Every second one is lost. The first look finds it, and the next is ten seconds later.
        assert list(map(stage.pushed, sent)) == [True, False, True, False], number
        *alive, short = map(stage.status, sent)
        assert alive == ["succeeded"] * 3
        # It depends on when the look comes; `judge` sees that nothing started too late.
        assert short in ("succeeded", "expired")
    await stage.judge()


@story("starved")
async def test_starved(stage):
    await stage.board()
    # A minute passes until it looks again.
    await stage.rounds(2)
    other = await stage.client("other")
    assert await other.subscribe("dh/command/+/+/dev-1/slow") == [0]
    alive, late = stage.send(), stage.send(lifetime=5)
    taken = stage.send("slow", ms=100)
    assert (await other.message())[1]["command"]["id"] == taken.id
    await stage.settled(alive, late)
    assert (stage.status(alive), stage.status(late)) == ("succeeded", "expired")
    # And ten seconds, once something was missed.
    alive = stage.send(lifetime=30)
    await stage.settled(alive)
    assert stage.status(alive) == "succeeded"  # a minute later it had expired
    assert not any(map(stage.pushed, (*stage.sent[:2], alive)))
    other.close()
    await until(lambda: "other" not in stage.hub._broker.clients, "the other one's end")
    await stage.heard(stage.send())
    await stage.judge()


@story("stale")
async def test_stale(stage):
    board = await stage.board()
    # A persistent session on the board's very filter: what it leaves behind is counted with it.
    other = await stage.client("other", clean=False)
    assert await other.subscribe(SPELLED) == [0]
    other.close()
    await until(lambda: "other" not in stage.hub._broker.clients, "the other one's end")
    sent = [stage.send(lifetime=60) for _ in range(4)]
    await stage.settled()
    assert sum(map(stage.pushed, sent)) == 2
    # And the board's own sessions leave nothing: each is clean, and has an id of its own.
    before = set(stage.hub.traps["stale"]._marks)
    (client_id,) = [one for one in stage.hub._broker.clients if one.startswith("dev-1")]
    stage.hub._broker.clients[client_id]._writer.transport.abort()
    await board.online(2)
    assert set(stage.hub.traps["stale"]._marks) == before == {"other"}
    await stage.judge()


@story("mute-suback=3600")
async def test_mute_suback(stage):
    board = await stage.board(online=False)
    held = stage.witness.held
    await until(lambda: any("dh/command/" in one for one in map(str, held)), lambda: str(held))
    stage.hub.traps.lift("mute-suback")
    sent = stage.mix()
    await board.says("the broker did not acknowledge in time")
    await board.online()
    assert len(stage.witness.connects) == 2
    await stage.settled()
    assert [stage.status(command) for command in sent].count("expired") == 1
    await stage.judge()


@story(bits=BOTH)
async def test_device_deleted_while_subscribed(stage):
    board = await stage.board()
    running = stage.send("slow", ms=HOUR * 1000, lifetime=2)
    await board.started(running)
    stage.hub.store.delete_device(stage.hub.store.devices["dev-1"])
    # Nobody can take its outcome any more; the board makes the device anew in its next round.
    await board.says("is given up: Device with such deviceId = dev-1 not found")
    await board.says("DeviceHive has dropped the subscription")
    await board.online(2)
    assert stage.hub.store.devices["dev-1"].name == "dev-1"
    sent = stage.mix()
    await stage.settled(*sent)
    assert all(map(stage.pushed, sent))
    await stage.judge(running)


@story()
async def test_device_deleted_and_made_anew_while_subscribed(stage):
    board = await stage.board()
    stage.hub.store.delete_device(stage.hub.store.devices["dev-1"])
    stage.hub.store.save_device("dev-1", "made anew", None)
    # The filter that the board holds stays dead.
    sent = stage.mix()
    await board.says("DeviceHive has dropped the subscription")
    await board.online(2)
    await stage.settled()
    assert not any(map(stage.pushed, sent))
    await stage.judge()


# The server and the broker


@story(f"vanished={HOUR}")
async def test_vanished(stage):
    board = await stage.board()
    running = stage.send("slow", ms=2000, lifetime=30)
    await board.started(running)
    (first,) = stage.witness.connects
    stage.hub.traps["vanished"].strike(first)
    unseen = [stage.send(), stage.send(lifetime=60), stage.send(lifetime=2)]
    await board.online(2)
    await stage.settled()
    assert board.count("was not answered in time") == 1
    assert [stage.status(one) for one in (running, *unseen)] == ["succeeded"] * 3 + ["expired"]
    assert not any(map(stage.pushed, unseen))
    # The outcome that nobody took was sent again by a client of another id.
    told = [client_id for client_id, _ in stage.witness.requests("command/update", running)]
    assert told[0] == first != told[-1]
    # The dead subscription takes nothing from one that is spelled otherwise.
    assert stage.witness.filters.count(SPELLED) == 1
    sent = stage.mix()
    await stage.settled()
    assert all(map(stage.pushed, sent))
    await stage.judge()


@story(f"logged-out={HOUR}", bits=BOTH)
async def test_logged_out_with_a_token(stage):
    await logged_out(stage, await stage.board(token=True))
    assert len(stage.witness.requests("authenticate")) == 2


@story(f"logged-out={HOUR}", bits=BOTH)
async def test_logged_out_with_a_password(stage):
    await logged_out(stage, await stage.board())


async def logged_out(stage, board):
    running = stage.send("slow", ms=1000, lifetime=30)
    await board.started(running)
    (first,) = stage.witness.connects
    stage.hub.traps["logged-out"].strike(first)
    unseen = stage.mix()
    # The subscription went with the log-in: a new session brings both.
    await board.says("the cloud has forgotten the log-in")
    await board.online(2)
    await stage.settled()
    assert set(stage.witness.codes("command/update", running)) == {401, 200}
    told = [client_id for client_id, _ in stage.witness.requests("command/update", running)]
    assert told[0] == first != told[-1]
    assert not any(map(stage.pushed, unseen))
    await stage.judge()


@story("crash", bits=BOTH)
async def test_crash(stage):
    # It logs in by token: in haste, it would kill the broker itself.
    board = await stage.board(token=True)
    running = stage.send("slow", ms=1000, lifetime=30)
    await board.started(running)
    stranger = await stage.client("stranger", user=None, password=None)
    assert await stranger.subscribe("other/#") == [0]
    assert board.count("WARNING") == 0
    wrong = await stage.board("dev-2", online=False, password="wrong")
    await until(lambda: stage.witness.wrong, "a wrong password")
    assert await stranger.closed() == b""
    unseen = stage.mix()
    wrong.child.kill()
    stage.boards.remove(wrong)
    await board.online(2)
    await stage.settled()
    assert not any(map(stage.pushed, unseen))
    await stage.judge()


@story("crash")
async def test_crash_by_an_agent_that_tries_again(stage):
    board = await stage.board(token=True)
    wrong = await stage.board("dev-2", online=False, password="wrong")
    stage.boards.remove(wrong)
    sent = stage.mix()
    # Nobody tells it that the password is wrong: the broker is gone. It guesses, and waits long.
    await until(
        lambda: re.search(r"next try in ([6-9]\d|1\d\d)\.", wrong.child.output),
        lambda: wrong.child.output,
    )
    assert 1 <= len(stage.witness.wrong) <= 4
    assert not stage.hub.store.users["heed"].locked
    await board.says("the broker closed the connection")
    await stage.settled(*sent)
    await stage.judge()


@story()
async def test_wrong_password(stage):
    stage.hub.store.save_device("dev-1", "dev-1", None)
    board = await stage.board(online=False, password="other")
    await board.says("check the login and the password")
    stage.hub.store.users["heed"].password = "other"
    late, alive = stage.send(lifetime=5), stage.send()
    await board.online()
    # Ten wrong ones would have locked the account.
    assert len(stage.witness.wrong) == 1
    assert time.monotonic() - stage.witness.wrong[0] >= 60
    await stage.settled()
    assert (stage.status(late), stage.status(alive)) == ("expired", "succeeded")
    await stage.judge()


@story("old", bits=BOTH)
async def test_old(stage):
    board = await stage.board()
    running = stage.send("slow", ms=HOUR * 1000, lifetime=HOUR)
    await board.started(running)
    (first,) = stage.witness.connects
    # A reset whose old connection nobody has seen end: the broker still has its client id.
    board.child._process.send_signal(signal.SIGSTOP)
    board.start()
    await board.online()
    assert await (await Client.dial(stage.hub, first)).connect() == 4
    sent = stage.mix()
    await stage.settled()
    assert first in stage.hub._broker.clients
    assert stage.status(running) == "interrupted"
    assert all(map(stage.pushed, sent))
    await stage.judge()


@story("scan", "exclusive", bits=BOTH)
async def test_scan_and_exclusive_with_a_burst_in_an_outage(stage):
    board = await stage.board()
    await stage.hub.stop()
    await board.says("next try in")
    late = [stage.send(lifetime=1) for _ in range(5)]
    sent = [stage.send() for _ in range(25)]
    deadline = late[-1].timestamp + 1000
    await until(lambda: stage.hub.store.now_ms() >= deadline, "the deadline of some")
    await stage.hub.start()
    await stage.settled()
    # There was more than one answer holds, and some of the same moment.
    assert any(number > take for number, take in stage.witness.listed)
    assert len({command.timestamp for command in sent}) < len(sent)
    assert {stage.status(command) for command in late} == {"expired"}
    assert {stage.status(command) for command in sent} == {"succeeded"}
    await stage.judge()
