"""The transport against a real broker, on any interpreter: `transport_script.py PORT [CA]`.

Talks to itself through the broker and prints what it saw, one line each, for the test to read.
"""

import asyncio
import os
import sys

MESSAGES = 200


async def serve(transport, arrived, errors):
    async def receive():
        while True:
            topic, payload, receipt = await transport.receive()
            transport.accept(receipt)
            arrived.append((topic, payload))

    async def watch(coroutine):
        try:
            await coroutine
        except OSError as e:
            errors.append(e)

    return [asyncio.create_task(watch(one)) for one in (transport.serve(), receive())]


async def until(condition):
    for _ in range(2000):
        if condition():
            return True
        await asyncio.sleep_ms(5)
    return False


async def talk(port, ca):
    from agent.clock import Clock
    from agent.mqtt import MQTTTransport

    transport = MQTTTransport(Clock(), 4096)
    endpoint = {"host": "127.0.0.1", "port": port, "keepalive": 60}
    endpoint["client_id"] = "script-" + os.urandom(4).hex()
    endpoint["will"] = ("script/will", "gone")
    if ca:
        from agent.tls import context

        endpoint["host"] = "localhost"
        endpoint["tls"] = context(ca)
    await transport.connect(endpoint)
    print("connected")
    arrived, errors = [], []
    tasks = await serve(transport, arrived, errors)
    await transport.subscribe(["script/#", "longer/" + "x" * 150])
    print("subscribed")
    tokens = [transport.publish("script/%d" % n, "payload %d" % n, 1) for n in range(MESSAGES)]
    for token in tokens:
        await transport.acknowledged(token)
    print("acknowledged", len(tokens))
    await until(lambda: len(arrived) == MESSAGES)
    expected = [("script/%d" % n, b"payload %d" % n) for n in range(MESSAGES)]
    print("in order", arrived == expected)
    arrived.clear()
    transport.publish("script/large", b"x" * 10000, 1)
    transport.publish("script/full", b"y" * 4000)
    transport.publish("longer/" + "x" * 150, "ü")
    await until(lambda: len(arrived) == 3)
    print("too large", transport.too_large, len(arrived[0][1][0]))
    print("whole", [len(payload) for _, payload in arrived[1:]])
    sys.stdout.flush() if hasattr(sys.stdout, "flush") else None
    print("waiting for the loss")
    await until(lambda: errors)
    print("lost", errors[0].errno if errors else None)
    for task in tasks:
        task.cancel()
    for task in tasks:
        try:
            await task
        except asyncio.CancelledError:
            pass
    await transport.close()


async def main():
    try:
        await talk(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
    except OSError as e:
        print("refused", e.args[1] if len(e.args) > 1 else e)


if __name__ == "__main__":
    if sys.implementation.name != "micropython":
        from host_tests import on_cpython

        on_cpython.install(os.environ["UMQTT"])
    asyncio.run(main())
