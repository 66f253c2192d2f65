"""What goes wrong with the hub on purpose: each trap, beside the hub without it."""

import asyncio
import json
import signal

import pytest

from host_tests.hub_kit import device, error, good, run, run_person, told, until, will
from host_tests.mqtt_client import PATIENCE_S, Client, connect, packet, publish, subscribe
from host_tests.test_hub import verb
from tools.hub import topics
from tools.hub.hub import Hub

ALL = "dh/command/+/+/d/#"


def insert(hub, *names):
    return [hub.store.insert_command(hub.store.devices["d"], 1, name) for name in names]


async def heard(hub, client, *names):
    """The names of those of some new commands that are pushed to a client."""
    insert(hub, *names)
    client.send(packet(0xC0))
    await client.expect(0xD0)
    came = [push["command"]["command"] for _topic, push in client.messages]
    client.messages.clear()
    return came


async def names_of(client, **query):
    """The names that a command/list gives."""
    answer = good(await client.ask("command/list", deviceId="d", **query))
    return [entry["command"] for entry in answer["commands"]]


# What is off and what is on


@pytest.mark.parametrize(
    "word", ["nonsense", "", "Crash", "crash=", "crash=x", "crash=-1", "spoof=1"]
)
def test_unknown_trap_is_refused_in_one_line(word):
    with pytest.raises(ValueError) as refusal:
        Hub(traps=(word,))
    assert "\n" not in str(refusal.value)
    assert "takes no number" in str(refusal.value) or "stale, zombie" in str(refusal.value)


def test_verb_refuses_an_unknown_trap_in_one_line():
    with verb("--trap", "scan", "--trap", "nonsense") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert "'nonsense'" in err and "vanished" in err


def test_verb_lists_every_trap_with_one_line():
    with verb("--help") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    listed = out.partition("traps, each with its usual number:\n")[2].splitlines()
    names = [line.split()[0].partition("=")[0] for line in listed]
    assert len(names) == len(set(names)) == 15
    Hub(traps=names)


def test_verb_says_what_is_on_and_does_it():
    words = "--json", "--mqtt-port", "0", "--http-port", "0", "--trap", "double", "--trap", "old"

    async def story(said):
        hub = type("Told", (), said)
        client = await device(hub)
        await client.subscribe(ALL)
        await client.ask("command/insert", deviceId="d", command={"command": "on"})
        assert [topic for topic, _push in client.messages] == ["dh/command/1/1/d/on"] * 2
        assert await (await Client.dial(hub, "board")).connect() == 4

    with verb(*words) as process:
        try:
            said = json.loads(process.stdout.readline())
            assert said["traps"] == ["double", "old"]
            asyncio.run(asyncio.wait_for(story(said), 30))
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")


def test_trap_that_is_lifted_is_over():
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe(ALL)
        assert await heard(hub, client, "a") == ["a", "a", "a"]
        hub.traps.lift("double")
        hub.traps.lift("late-store")
        assert list(hub.traps) == []
        assert await heard(hub, client, "b") == ["b"]
        assert await names_of(client) == ["a", "b"]

    run(story, traps=("double=3", "late-store"))


# Subscriptions that are dead


@pytest.mark.parametrize(("traps", "second"), [((), ["on"]), (("stale",), [])])
def test_stale_refused_subscribe_leaves_the_next_one_dead(traps, second):
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect()
        assert await client.subscribe(ALL) == [0x80]
        good(await client.ask("device/save", deviceId="d", device={"name": "d"}))
        assert await client.subscribe(ALL) == [0]
        assert await heard(hub, client, "on") == second
        await client.unsubscribe(ALL)
        assert await client.subscribe(ALL) == [0]
        assert await heard(hub, client, "a", "b", "c", "d") == ["a", "b", "c", "d"]

    run(story, traps=traps)


def test_stale_mark_is_the_client_ids_and_outlives_its_connection():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect()
        assert await client.subscribe(ALL) == [0x80]
        await device(hub)
        client.send(packet(0xE0))
        await client.closed()
        again, fresh = await Client.dial(hub), await Client.dial(hub, "fresh")
        for one, came in ((again, []), (fresh, ["on"])):
            assert await one.connect() == 0
            assert await one.subscribe(ALL) == [0]
            assert await heard(hub, one, "on") == came

    run(story, traps=("stale",))


def test_stale_is_not_what_an_anonymous_client_is_refused():
    async def story(hub, _clock):
        tokens = hub.tokens.pair(hub.store.users["heed"])
        await device(hub)
        client = await Client.dial(hub)
        await client.connect(None, None)
        assert await client.subscribe(ALL) == [0x80]
        good(await client.ask("authenticate", token=tokens["accessToken"]))
        assert await client.subscribe(ALL) == [0]
        assert await heard(hub, client, "on") == ["on"]

    run(story, traps=("stale",))


@pytest.mark.parametrize(
    ("traps", "present", "dead", "revived"),
    [((), 0, ["a"], ["0", "1", "2", "3"]), (("stale",), 1, [], ["0", "2"])],
)
def test_stale_persistent_session_is_dead_and_half_alive_after_unsubscribe(
    traps, present, dead, revived
):
    async def story(hub, _clock):
        await device(hub, "other")
        first = await Client.dial(hub)
        assert await first.connect(clean=False) == 0
        assert await first.subscribe(ALL) == [0]
        assert await heard(hub, first, "on") == ["on"]
        first.close()
        await until(lambda: "c1" not in hub._broker.clients)
        for clean in (False, True):
            client = await Client.dial(hub)
            client.send(connect("c1", "heed", "heed", clean=clean))
            assert list(await client.expect(0x20)) == [0 if clean else present, 0]
            assert await client.subscribe(ALL) == [0]
            assert await heard(hub, client, "a") == dead
            client.send(packet(0xE0))
            await client.closed()
            await until(lambda: "c1" not in hub._broker.clients)
        client = await Client.dial(hub)
        await client.connect()
        await client.unsubscribe(ALL)
        assert await client.subscribe(ALL) == [0]
        assert await heard(hub, client, *"0123") == revived

    run(story, traps=traps)


@pytest.mark.parametrize(("traps", "left"), [((), ["on"]), (("stale",), [])])
def test_stale_narrow_filter_is_dead_once_the_wider_one_is_gone(traps, left):
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe(ALL)
        await client.subscribe("dh/command/+/+/d/on")
        assert await heard(hub, client, "on") == ["on"]
        await client.unsubscribe(ALL)
        assert await heard(hub, client, "on") == left

    run(story, traps=traps)


@pytest.mark.parametrize(
    ("traps", "came"),
    [((), "01234567"), (("zombie",), "0246"), (("zombie=2",), "036"), (("zombie=3",), "04")],
)
def test_zombie_lets_one_push_in_so_many_through(traps, came):
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe(ALL)
        assert await heard(hub, client, *"01234567") == list(came)
        # Spelled another way it is another text, which nobody shares.
        await client.unsubscribe(ALL)
        await client.subscribe("dh/command/1/+/d/#")
        assert await heard(hub, client, *"01234567") == list("01234567")

    run(story, traps=traps)


# The server that goes away


def test_vanished_server_is_silent_behind_a_broker_that_answers_pings():
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe(ALL, "dh/response/server/info@board")
        good(await client.ask("server/info"))
        hub.traps["vanished"].strike("board")
        assert await heard(hub, client, "on") == []
        client.send(publish("dh/request", {"action": "server/info"}))
        assert await client.quiet()
        assert await client.subscribe("dh/response/device/get@board") == [0]
        # What concerns the server is never acknowledged.
        client.send(subscribe(9, "dh/command/1/1/d/on"))
        assert await client.quiet()

    run(story, traps=("vanished=3600",))


def test_vanished_locks_the_client_id_and_haunts_the_filter_until_the_broker_restarts():
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe(ALL)
        hub.traps["vanished"].strike("board")
        client.send(packet(0xE0))
        await client.closed()
        await until(lambda: "board" not in hub._broker.clients)
        assert await (await Client.dial(hub, "board")).connect() == 5
        fresh = await Client.dial(hub, "fresh")
        assert await fresh.connect() == 0
        await fresh.subscribe(ALL)
        assert await heard(hub, fresh, *"0123") == ["0", "2"]
        hub._broker.crash(0)
        await fresh.closed()
        await until(hub._broker._revival.done)
        again = await Client.dial(hub, "board")
        assert await again.connect() == 0
        await again.subscribe(ALL)
        assert await heard(hub, again, *"0123") == list("0123")

    run(story, traps=("vanished=3600",))


def test_vanished_without_a_subscription_leaves_the_client_id_free_and_carries_out_no_will():
    async def story(hub, _clock):
        await device(hub, "other")
        client = await Client.dial(hub, "board")
        assert await client.connect(will=will("lost")) == 0
        await client.subscribe("dh/response/server/info@board")
        hub.traps["vanished"].strike("board")
        client.close()
        await until(lambda: "board" not in hub._broker.clients)
        again = await Client.dial(hub, "board")
        assert await again.connect() == 0
        good(await again.ask("server/info"))
        await told(hub)

    run(story, traps=("vanished=3600",))


def test_vanished_halves_the_pushes_of_another_client_with_the_same_filter():
    async def story(hub, _clock):
        client, other = await device(hub), await device(hub, "other")
        await client.subscribe(ALL)
        await other.subscribe(ALL)
        assert await heard(hub, other, *"01") == ["0", "1"]
        hub.traps["vanished"].strike("board")
        assert await heard(hub, other, *"0123") == ["0", "2"]

    run(story, traps=("vanished=3600",))


@pytest.mark.parametrize("name", ["vanished", "logged-out"])
def test_time_strikes_each_connection(name):
    async def story(hub, _clock):
        for client_id in ("a", "b"):
            client = await device(hub, client_id)
            await client.subscribe("dh/command/+/+/+/" + client_id)
            kept = hub._broker.clients[client_id].session.subscriptions
            await until(lambda kept=kept: not any(kept.values()))

    run(story, traps=(name + "=0.1",))


def test_logged_out_session_answers_401_until_it_authenticates():
    async def story(hub, _clock):
        tokens = hub.tokens.pair(hub.store.users["heed"])
        client = await device(hub)
        actions = "device/get", "command/update", "command/list", "subscription/list"
        responses = [f"dh/response/{action}@board" for action in (*actions, "server/info")]
        assert set(await client.subscribe(ALL, *responses)) == {0}
        hub.traps["logged-out"].strike("board")
        assert await heard(hub, client, "on") == []
        for action in actions:
            assert error(await client.ask(action, deviceId="d")) == (401, "Unauthorized")
        # The server asks for no right here.
        good(await client.ask("server/info"))
        good(await client.ask("authenticate", token=tokens["accessToken"]))
        good(await client.ask("device/get", deviceId="d"))
        await client.unsubscribe(ALL)
        assert await client.subscribe(ALL) == [0]
        assert await heard(hub, client, "on") == ["on"]
        new = await Client.dial(hub, "new")
        await new.connect()
        good(await new.ask("device/get", deviceId="d"))

    run(story, traps=("logged-out=3600",))


@pytest.mark.parametrize("hold", ["mute-suback", "mute-suback=0.1"])
def test_mute_suback_is_held_back_for_command_filters_alone(hold):
    async def story(hub, _clock):
        client = await device(hub)
        assert await client.subscribe("dh/response/device/get@board", "own/topic") == [0, 0]
        client.send(subscribe(9, ALL))
        assert await heard(hub, client, "early") == []
        if hold == "mute-suback":
            assert await client.quiet()
        else:
            assert await client.expect(0x90) == b"\0\x09\0"
            assert await heard(hub, client, "on") == ["on"]

    run(story, traps=(hold,))


# Pushes


@pytest.mark.parametrize("narrow", ["dh/command/1/1/d/on", "dh/command/+/+/+/on"])
@pytest.mark.parametrize("traps", [(), ("starved",)])
def test_starved_wildcard_keeps_only_the_name_of_a_later_subscriber(traps, narrow):
    async def story(hub, _clock):
        client, other = await device(hub), await device(hub, "other")
        await client.subscribe(ALL)
        assert await heard(hub, client, "on", "off") == ["on", "off"]
        await other.subscribe(narrow)
        assert await heard(hub, client, "on", "off") == (["on"] if traps else ["on", "off"])
        assert await heard(hub, other) == ["on"]
        await other.unsubscribe(narrow)
        assert await heard(hub, client, "on", "off") == ["on", "off"]

    run(story, traps=traps)


@pytest.mark.parametrize(
    ("own", "others"),
    [
        (ALL, "dh/command/#"),
        (ALL, "dh/command/+/+/e/on"),
        (ALL, "dh/command_update/+/+/d/on"),
        ("dh/command/+/+/d/on", ALL),
        ("dh/command/+/+/d/on", "dh/command/1/1/d/on"),
    ],
)
def test_starved_are_only_wildcards_and_only_by_a_name_of_their_own_commands(own, others):
    async def story(hub, _clock):
        client, other = await device(hub), await device(hub, "other", "e")
        await client.subscribe(own)
        await other.subscribe(others)
        assert await heard(hub, client, "on") == ["on"]

    run(story, traps=("starved",))


def test_starved_is_nobody_by_a_narrower_filter_that_came_first():
    async def story(hub, _clock):
        client, other = await device(hub), await device(hub, "other")
        await other.subscribe("dh/command/1/1/d/on")
        await client.subscribe(ALL)
        assert await heard(hub, client, "on", "off") == ["on", "off"]

    run(story, traps=("starved",))


@pytest.mark.parametrize("on", [False, True])
def test_spoof_lets_anyone_forge_pushes_and_overhear_them(on):
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe(ALL, "dh/command_update/#", "dh/response/server/info@board")
        nobody = await Client.dial(hub, "nobody")
        await nobody.connect(None, None)
        assert await nobody.subscribe("#", "dh/command/#") == [0, 0x80]
        for topic in ("command/1/1/d/on", "command_update/1/1/d/on", "response/server/info@board"):
            nobody.send(publish("dh/" + topic, {"forged": topic}))
        nobody.send(publish("own", b"end"))
        heard_by_nobody = [await nobody.message() for _ in range(3 if on else 1)]
        assert heard_by_nobody[-1] == ("own", b"end")
        client.send(packet(0xC0))
        await client.expect(0xD0)
        assert [body["forged"] for _topic, body in client.messages] == (
            ["command/1/1/d/on", "command_update/1/1/d/on"] if on else []
        )
        client.messages.clear()
        assert await heard(hub, nobody, "on") == (["on"] if on else [])
        assert await heard(hub, client) == ["on"]

    run(story, traps=("spoof",) if on else ())


def test_spoof_overhears_nothing_that_nobody_has_subscribed_to():
    async def story(hub, _clock):
        await device(hub)
        nobody = await Client.dial(hub, "nobody")
        await nobody.connect(None, None)
        await nobody.subscribe("#")
        assert await heard(hub, nobody, "on") == []

    run(story, traps=("spoof",))


@pytest.mark.parametrize(("traps", "times"), [((), 1), (("double",), 2), (("double=5",), 5)])
def test_double_sends_each_push_again_and_lists_it_once(traps, times):
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe(ALL)
        assert await heard(hub, client, "a", "b") == ["a"] * times + ["b"] * times
        assert await names_of(client) == ["a", "b"]

    run(story, traps=traps)


# Lists, and what a request finds


@pytest.mark.parametrize("traps", [(), ("scan",)])
def test_scan_cuts_an_arbitrary_part_out_of_a_list_without_order(traps):
    async def story(hub, _clock):
        client = await device(hub)
        wanted = [f"{n:02}" for n in range(40)]
        insert(hub, *wanted)
        everything = await names_of(client, take=1000)
        assert (everything == wanted) is not bool(traps)
        assert sorted(everything) == wanted
        assert await names_of(client, take=10) == everything[:10]
        part = await names_of(client, take=10, sortField="command")
        assert part == sorted(everything[:10])

    run(story, traps=traps)


@pytest.mark.parametrize(
    ("traps", "came"),
    [((), ["0", "1", "2"]), (("exclusive",), ["1"]), (("scan", "exclusive"), ["1"])],
)
def test_exclusive_list_leaves_its_edges_out(traps, came):
    async def story(hub, clock):
        client = await device(hub)
        times = []
        for name in "012":
            insert(hub, name)
            times.append(f"2027-01-15T08:00:0{name}.000")
            clock.now_s += 1
        assert sorted(await names_of(client, start=times[0], end=times[2])) == came
        assert error(await client.ask("command/list", deviceId="d", start="x"))[0] == 400

    run(story, traps=traps)


def test_late_store_pushes_what_cannot_be_found_yet():
    async def story(hub, clock, person):
        client = await device(hub)
        await client.subscribe(ALL)
        (command,) = insert(hub, "on")
        assert (await client.message())[1]["command"]["id"] == command.id
        key = {"deviceId": "d", "commandId": command.id}
        clock.now_s += 0.299
        assert await names_of(client) == []
        assert error(await client.ask("command/get", **key))[0] == 404
        assert (await person.ask("GET", f"/device/d/command/{command.id}"))[0] == 404
        # An update finds nothing either, and is never answered.
        await client.subscribe("dh/response/command/update@board")
        request = {"action": "command/update", **key, "command": {"status": "early"}}
        client.send(publish("dh/request", request))
        assert await client.quiet()
        clock.now_s += 0.002
        assert await names_of(client) == ["on"]
        assert good(await client.ask("command/get", **key))["command"]["status"] is None
        good(await client.ask("command/update", **key, command={"status": "late"}))
        # Later updates hide nothing.
        assert good(await client.ask("command/get", **key))["command"]["status"] == "late"

    run_person(story, traps=("late-store",))


def test_without_late_store_a_clock_that_steps_back_hides_nothing():
    async def story(hub, clock):
        client = await device(hub)
        insert(hub, "on")
        clock.now_s -= 60
        assert await names_of(client) == ["on"]

    run(story)


def test_unavailable_is_answered_503_then_500_then_done():
    async def story(hub, _clock):
        client = await device(hub)
        commands = insert(hub, "a", "b")
        for command in commands:
            answers = [
                await client.ask(
                    "command/update",
                    deviceId="d",
                    commandId=command.id,
                    command={"status": "ok"},
                )
                for _ in range(3)
            ]
            assert error(answers[0]) == (503, "Service is not available")
            assert error(answers[1])[0] == 500
            good(answers[2])
            assert command.status == "ok"
        refresh = hub.tokens.pair(hub.store.users["heed"])["refreshToken"]
        codes = [
            (await client.ask("token/refresh", refreshToken=refresh)).get("code") for _ in range(3)
        ]
        assert codes == [503, 500, None]

    run(story, traps=("unavailable",))


@pytest.mark.parametrize(
    ("traps", "order"), [((), [0, 1, 2, 3]), (("out-of-order",), [3, 2, 1, 0])]
)
def test_out_of_order_answers_come_last_one_first(traps, order):
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe("dh/response/server/info@board", "dh/response/device/get@board")
        for number in range(4):
            action = ("server/info", "device/get")[number % 2]
            request = {"action": action, "requestId": number, "deviceId": "d"}
            client.send(publish("dh/request", request))
        answers = [(await client.message())[1] for _ in range(4)]
        assert [answer["requestId"] for answer in answers] == order
        good(await client.ask("server/info"))

    run(story, traps=traps)


# The broker that dies


def test_crash_at_a_wrong_password_drops_everyone_and_comes_back():
    async def story(hub, _clock):
        client = await device(hub, "polite")
        lost = await Client.dial(hub, "board")
        assert await lost.connect(will=will("lost")) == 0
        bad = await Client.dial(hub, "bad")
        bad.send(connect("bad", "heed", "wrong"))
        # Not a byte of a CONNACK.
        assert await bad.closed() == b""
        await client.closed()
        await lost.closed()
        with pytest.raises(OSError):
            await Client.dial(hub)
        await until(hub._broker._revival.done)
        again = await Client.dial(hub, "board")
        assert await again.connect() == 0
        good(await again.ask("server/info"))
        await told(hub)
        assert await heard(hub, again) == []

    run(story, traps=("crash=0.3",))


def test_without_crash_a_wrong_password_is_connack_4():
    async def story(hub, _clock):
        client = await device(hub)
        assert await (await Client.dial(hub, "bad")).connect("heed", "wrong") == 4
        assert await client.quiet()

    run(story)


@pytest.mark.parametrize("on", [False, True])
def test_crash_at_a_second_request_before_the_link_of_an_anonymous_client_is_up(on):
    async def story(hub, _clock):
        client = await device(hub)
        hasty = await Client.dial(hub, "hasty")
        await hasty.connect(None, None)
        await hasty.subscribe("dh/response/token@hasty")
        request = publish("dh/request", {"action": "token", "login": "heed", "password": "heed"})
        hasty.send(request + request)
        if on:
            assert await hasty.closed() == b""
            await client.closed()
        else:
            assert [(await hasty.message())[1]["status"] for _ in "12"] == ["success"] * 2
            assert await client.quiet()

    run(story, traps=("crash=0",) if on else ())


def test_crash_spares_who_waits_for_the_first_answer_or_logs_in_by_password():
    async def story(hub, _clock):
        client = await device(hub)
        patient = await Client.dial(hub, "patient")
        await patient.connect(None, None)
        await patient.subscribe("dh/response/token@patient")
        request = publish("dh/request", {"action": "token", "login": "heed", "password": "heed"})
        patient.send(request)
        assert (await patient.message())[1]["status"] == "success"
        patient.send(request + request)
        assert [(await patient.message())[1]["status"] for _ in "12"] == ["success"] * 2
        await client.subscribe("dh/response/server/info@board")
        client.send(publish("dh/request", {"action": "server/info"}) * 2)
        assert [(await client.message())[1]["status"] for _ in "12"] == ["success"] * 2

    run(story, traps=("crash",))


def test_hub_that_is_down_after_a_crash_stops_at_once_and_frees_its_port():
    async def go():
        hub = Hub(traps=("crash=3600",))
        await hub.start()
        bad = await Client.dial(hub, "bad")
        bad.send(connect("bad", "heed", "wrong"))
        await bad.closed()
        await asyncio.wait_for(hub.stop(), PATIENCE_S)
        async with Hub(mqtt_port=hub.mqtt_port) as second:
            assert await (await Client.dial(second)).connect() == 0
        await hub.start()
        assert await (await Client.dial(hub)).connect() == 0
        await hub.stop()

    asyncio.run(go())


# What is so without any trap, or with an old broker


@pytest.mark.parametrize(("traps", "code"), [((), 5), (("old",), 4)])
def test_client_id_in_use_is_refused_with_the_brokers_own_code(traps, code):
    async def story(hub, _clock):
        client = await device(hub)
        assert await (await Client.dial(hub, "board")).connect() == code
        assert await client.quiet()

    run(story, traps=traps)


def test_device_deleted_over_rest_leaves_the_filter_granted_and_dead():
    async def story(hub, _clock, person):
        client = await device(hub)
        await client.subscribe(ALL)
        assert await person.ask("DELETE", "/device/d") == (204, None)
        assert (await person.ask("PUT", "/device/d", {"name": "d"}))[0] == 204
        assert await client.subscribe(ALL) == [0]
        assert await heard(hub, client, "on") == []

    run_person(story)


@pytest.mark.parametrize(
    ("wide", "narrow", "yes"),
    [
        ("a/#", "a/b/#", True),
        ("a/#", "a/+", True),
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/#", False),
        ("a/b", "a/+", False),
        ("a/+", "a/+", False),
        ("a/#", "b/c", False),
    ],
)
def test_filter_covers_what_is_narrower_and_not_itself(wide, narrow, yes):
    assert topics.covers(wide, narrow) is yes
