"""The hub as one object, for the verb and for tests."""

import os
import socket
import time

from .actions import Actions
from .mqtt import Broker
from .rest import PATH, REST
from .store import Store
from .tokens import Tokens
from .traps import switched_on


class Hub:
    """A DeviceHive in this process: MQTT for devices, REST for people.

    Arguments:
        host: address to listen on. mqtt_port, http_port: 0 picks free ones.
        login, password: of the one user, an administrator.
        clock: gives seconds since 1970, as `time.time`; a test hands in its own and moves
            it. Retention, tokens and time stamps follow it, time-outs of connections do not.
        traps: the misbehaviours that are on, each NAME or NAME=NUMBER; see `traps`.
        broker: further arguments of Broker, limits and time-outs.

    Attributes, once started:
        mqtt_port, http_port: where it listens.
        rest, websocket: addresses of the two APIs on the HTTP port.
        store, tokens: what it remembers and who may do what; they outlive `stop`.
        traps: the Traps that are on.

    Raises:
        ValueError: there is no such trap.
    """

    def __init__(
        self,
        host="127.0.0.1",
        mqtt_port=0,
        http_port=0,
        login="heed",
        password="heed",
        clock=time.time,
        traps=(),
        **broker,
    ):
        self.host = host
        self.mqtt_port = mqtt_port
        self.http_port = http_port
        self.rest = self.websocket = ""
        self.store = Store(clock)
        self.store.add_user(login, password)
        self.tokens = Tokens(self.store)
        self.traps = switched_on(traps)
        self._actions = Actions(self.store, self.tokens)
        self._actions.traps = self.traps
        self._broker = Broker(self.store, self.tokens, self._actions, traps=self.traps, **broker)
        self.traps.begin(self.store, self._broker)
        self._web = REST(self.store, self.tokens, self._actions)

    async def start(self):
        """Listen on both ports and serve.

        After `stop` it may be started again: on the same ports, with what it remembers.

        Raises:
            OSError: a port cannot be had; the text names it. Nothing is left open.
        """
        mqtt = _listen(self.host, self.mqtt_port)
        try:
            http = _listen(self.host, self.http_port)
        except OSError:
            mqtt.close()
            raise
        self.mqtt_port, self.http_port = mqtt.getsockname()[1], http.getsockname()[1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.rest = self._actions.rest = f"http://{host}:{self.http_port}{PATH}"
        self.websocket = self._web.websocket = f"ws://{host}:{self.http_port}/api/websocket"
        await self._broker.start(mqtt)
        await self._web.start(http)

    async def stop(self):
        """Close every connection and free both ports."""
        await self._broker.stop()
        await self._web.stop()

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_error):
        await self.stop()


def _listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)
        why = os.strerror(number) if number and number > 0 else str(error)
        raise OSError(number, f"cannot listen on port {port} of {host}: {why}") from None
