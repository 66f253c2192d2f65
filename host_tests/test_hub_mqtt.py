"""The hub's broker towards a sound client: answers, pushes, ordinary topics, last wills."""

import pytest

from host_tests.hub_kit import START, device, error, good, run, told, will
from host_tests.mqtt_client import Client, packet, publish


def test_answers_come_only_on_the_exact_topic():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect()
        info = {"action": "server/info"}
        assert await client.subscribe("dh/response/#", "dh/response/server/info@c2") == [0, 0]
        client.send(publish("dh/request", info))
        assert await client.quiet()
        await client.subscribe("dh/response/server/info@c1")
        client.send(publish("dh/request", info))
        topic, answer = await client.message()
        assert topic == "dh/response/server/info@c1"
        assert answer == {
            "action": "server/info",
            "requestId": None,
            "status": "success",
            "info": {"apiVersion": "4.1.0", "serverTimestamp": START, "restServerUrl": hub.rest},
        }
        await client.unsubscribe("dh/response/server/info@c1")
        client.send(publish("dh/request", info))
        assert await client.quiet()

    run(story)


def test_client_id_with_an_at_sign_gets_no_answers():
    async def story(hub, _clock):
        client = await Client.dial(hub, "a@b")
        await client.connect()
        assert await client.subscribe("dh/response/server/info@a@b") == [0]
        client.send(publish("dh/request", {"action": "server/info"}))
        assert await client.quiet()

    run(story)


@pytest.mark.parametrize(
    "payload",
    [
        b"not json",
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"action": 5}',
        b'{"action": "server/info", "x": NaN}',
        b"[" * 100_000,
        b'{"action": "server/info", "x": ' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_malformed_requests_get_silence(payload):
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect()
        await client.subscribe("dh/response/server/info@c1", "dh/response/None@c1")
        client.send(publish("dh/request", payload))
        assert await client.quiet()
        good(await client.ask("server/info"))

    run(story)


@pytest.mark.parametrize(
    ("topic_filter", "name", "comes"),
    [
        ("dh/command/+/+/d/#", "on", True),
        ("dh/command/+/+/d/#", "gpio/write", True),
        ("dh/command/+/+/d/#", None, True),
        ("dh/command/+/+/d/#", "on@c1", False),
        ("dh/command/+/+/d/#", "o#n", False),
        ("dh/command/+/+/d/+", "on", True),
        ("dh/command/+/+/d/+", "gpio/write", False),
        ("dh/command/+/+/d/on", "on", True),
        ("dh/command/+/+/d/on", "off", False),
        ("dh/command/1/1/d/on", "on", True),
        ("dh/command/2/1/d/on", "on", False),
        ("dh/command/1/2/+/on", "on", False),
        ("dh/command/1/1/+/on", "on", True),
        ("dh/command/1/1/d/gpio/write", "gpio/write", False),
        ("dh/command/1/1/d/gpio/#", "gpio/write", False),
        ("dh/command/+/+/d/on@c1", "on", False),
        ("dh/command/#", "on", True),
        ("dh/command/+/+/e/#", "on", False),
        ("dh/command_update/+/+/d/#", "on", False),
        ("dh/#", "on", False),
        ("#", "on", False),
        ("+/command/#", "on", False),
    ],
)
def test_which_filter_gets_which_command(topic_filter, name, comes):
    async def story(hub, _clock):
        client = await device(hub)
        good(await client.ask("device/save", deviceId="e", device={"name": "e"}))
        assert await client.subscribe(topic_filter) == [0]
        hub.store.insert_command(hub.store.devices["d"], 1, name)
        if comes:
            assert (await client.message())[0] == f"dh/command/1/1/d/{name or ''}"
        assert await client.quiet()

    run(story)


def test_push_comes_once_however_many_filters_match():
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe("dh/command/#", "dh/command/+/+/d/#", "dh/command/1/1/d/on", qos=1)
        hub.store.insert_command(hub.store.devices["d"], 1, "on")
        await client.message()
        assert await client.quiet()

    run(story)


def test_subscription_list_shows_what_is_alive():
    async def story(hub, _clock):
        client = await device(hub)
        assert good(await client.ask("subscription/list"))["subscriptions"] == []
        # Where a device is named, network and type are not asked for.
        await client.subscribe("dh/command/1/1/d/on", "dh/notification/1/2/+/#", "own/topic")
        answer = good(await client.ask("subscription/list", type="command"))
        hub.store.insert_command(hub.store.devices["d"], 1, "on")
        number = (await client.message())[1]["subscriptionId"]
        assert answer["subscriptions"] == [
            {
                "subscriptionId": number,
                "type": "command",
                "deviceId": "d",
                "networkIds": None,
                "deviceTypeIds": None,
                "names": ["on"],
                "timestamp": START,
            }
        ]
        found = good(await client.ask("subscription/list", type="notification"))["subscriptions"]
        assert (found[0]["networkIds"], found[0]["deviceTypeIds"]) == (["1"], ["2"])
        await client.unsubscribe("dh/command/1/1/d/on")
        assert good(await client.ask("subscription/list", type="command"))["subscriptions"] == []
        assert error(await client.ask("subscription/list", type="x"))[0] == 400

    run(story)


def test_notifications_are_kept_and_pushed():
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe("dh/notification/+/+/d/#")
        await client.subscribe("dh/response/notification/insert@board")
        client.send(
            publish(
                "dh/request",
                {
                    "action": "notification/insert",
                    "deviceId": "d",
                    "notification": {"notification": "temp", "parameters": {"c": 21.5}},
                },
            )
        )
        topic, push = await client.message()
        assert topic == "dh/notification/1/1/d/temp"
        assert push["notification"]["parameters"] == {"c": 21.5}
        _topic, answer = await client.message()
        assert answer["notification"] == {"id": push["notification"]["id"], "timestamp": START}
        answer = await client.ask("notification/insert", deviceId="d", notification={})
        assert error(answer) == (400, "Invalid request parameters")

    run(story)


def test_qos_1_is_acknowledged_and_answered():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect()
        assert await client.subscribe("dh/response/server/info@c1", qos=1) == [1]
        client.send(publish("dh/request", {"action": "server/info"}, number=258))
        assert await client.expect(0x40) == b"\x01\x02"
        # At QoS 0 all the same.
        assert (await client.message())[1]["status"] == "success"

    run(story)


def test_ordinary_topics_pass_between_clients_and_hive_topics_do_not():
    async def story(hub, _clock):
        client = await device(hub)
        listener = await Client.dial(hub, "listener")
        await listener.connect(None, None)
        assert await listener.subscribe("#", "room/+") == [0, 0]
        await client.subscribe("dh/command/+/+/d/#")
        client.send(publish("dh/command/1/1/d/on", {"forged": True}))
        client.send(publish("$SYS/x", b"hidden"))
        client.send(publish("room/1", b"warm"))
        assert await listener.message() == ("room/1", b"warm")
        assert await listener.quiet() and await client.quiet()

    run(story)


# Last wills


def test_will_is_carried_out_on_loss_and_on_a_breach_but_not_on_disconnect():
    async def story(hub, _clock):
        await device(hub)
        polite, lost, rude = [await Client.dial(hub, name) for name in ("polite", "lost", "rude")]
        for client in (polite, lost, rude):
            assert await client.connect(will=will(client.client_id)) == 0
        polite.send(packet(0xE0))
        await polite.closed()
        lost.close()
        await told(hub, "lost")
        rude.send(packet(0xF0))
        await told(hub, "lost", "rude")

    run(story)


def test_will_of_an_anonymous_client_is_refused_and_an_ordinary_one_is_spread():
    async def story(hub, _clock):
        client = await device(hub)
        await client.subscribe("gone/+")
        nobody = await Client.dial(hub, "nobody")
        await nobody.connect(None, None, will=will("forged"))
        nobody.close()
        other = await Client.dial(hub, "other")
        await other.connect(None, None, will=("gone/other", b"bye"))
        other.close()
        assert await client.message() == ("gone/other", b"bye")
        await told(hub)

    run(story)
