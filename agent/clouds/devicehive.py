"""DeviceHive over MQTT: requests on `dh/request`, answers on `dh/response/ACTION@CLIENT`.

Formats: docs.devicehive.com, "MQTT API reference", and what the broker (devicehive-mqtt) and the
server (devicehive-java-server) were seen to do where that differs:

- a client id can't be taken over and a lost one may stay locked, so each session has a fresh one
- only a native SUBSCRIBE brings commands; `command/subscribe` over MQTT is never answered
- pushes are QoS 0 and nothing is kept for an absent client, so commands are listed, too
- the server keeps a command for 120 s after it was inserted or updated, and never enforces its
  lifetime; an update for one that it has forgotten gets no answer
- the server can be gone while its broker still answers pings, and a subscription can be dead
"""

import json
import os
from errno import EACCES, EIO

from micropython import const

from .. import borrow, log
from ..clock import parse_iso8601
from ..session import Answer
from .devicehive_commands import RETENTION_MS, Commands, after, read, read_too_large

SETTINGS = {
    "host": (str, None),
    "port": (int, 1883),
    "tls": (bool, False),
    "ca": (str, ""),
    "login": (str, ""),
    "password": (str, ""),
    "refresh_token": (str, ""),
    "network_id": (int, 0),
    "device_type_id": (int, 0),
    "keepalive": (int, 60),
    "verify": (bool, True),
    "presence": (bool, True),
}

_REQUEST = const("dh/request")

# What may be subscribed before a log-in by token, and what is wanted after either log-in.
_LOG_IN = const(("token/refresh", "authenticate"))
_ACTIONS = const(
    (
        "server/info",
        "device/get",
        "device/save",
        "subscription/list",
        "command/get",
        "command/list",
        "command/update",
    )
)

_PROVE_MS = const(5000)
_ASK_MS = const(60000)
# While pushes go astray: another client's subscription can swallow them.
_SHORT_MS = const(10000)

# What is older than this at a round may be forgotten before the next one.
_LONG_MS = const(50000)

_ID_CHARACTERS = const("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")

_UNKNOWN_USER = const("check the login or refresh_token; ten wrong passwords lock a user")
_NO_RIGHT = const("this user needs the right, and the device's network and type")


def check(settings):
    """Return what is wrong with these settings, a list of sentences."""
    problems = []
    device, own = settings["device"]["id"], settings["devicehive"]
    if len(device) > 48 or any(letter not in _ID_CHARACTERS for letter in device):
        problems.append("device.id: DeviceHive takes letters, digits and dashes, at most 48")
    if not own["refresh_token"] and not (own["login"] and own["password"]):
        problems.append("devicehive: give login and password, or refresh_token")
    if not 5 <= own["keepalive"] <= 65535:
        problems.append("devicehive.keepalive: from 5 to 65535 seconds fit")
    if own["tls"] and not own["ca"]:
        problems.append("devicehive.ca: tls needs the file of the authority's certificate")
    return problems


class Cloud:
    """Speaks DeviceHive's MQTT API for one device.

    settings: the checked settings; clock: the agent's Clock
    catalogue: a function that gives what the handlers take, for the device's `data`, or None
    """

    def __init__(self, settings, clock, catalogue=None):
        self._device = settings["device"]
        self._own = settings["devicehive"]
        self._clock = clock
        self._catalogue = catalogue
        self._client = ""
        self._last_id = 0
        self._lost = 0  # sessions whose server fell silent
        self._place = ("+", "+")  # network and type of the device
        self._commands = Commands(settings, clock, self._request, self._ask_for)

    def endpoint(self):
        """Return where and as whom to connect, with a client id that was never used before."""
        own = self._own
        self._client = "%s-%s" % (self._device["id"], os.urandom(4).hex())
        endpoint = {
            "host": own["host"],
            "port": own["port"],
            "client_id": self._client,
            "keepalive": own["keepalive"],
        }
        if own["tls"]:
            endpoint["tls"] = borrow("tls").context(own["ca"])
        if not own["refresh_token"]:
            endpoint["user"] = own["login"]
            endpoint["password"] = own["password"]
        if own["presence"]:
            # The server keeps no presence of its own; the broker hands this on for us.
            endpoint["will"] = self.notice("offline", None)
        return endpoint

    async def open(self, session):
        """Log in, set the clock, register, subscribe, and catch up.

        Raises OSError: EACCES where DeviceHive refuses this user or this device.
        """
        self._commands.forget_asked()
        if self._own["refresh_token"]:
            await self._authenticate(session)
        await session.subscribe([self._response(action) for action in _ACTIONS])
        await self._ask_time(session)
        await self._register(session)
        # Names are left open, for a name with a slash has no filter of its own. A server that
        # fell silent can leave a dead subscription behind that takes every second push from one
        # of the same spelling, so that the next session spells it otherwise.
        place = [self._place[n] if self._lost >> n & 1 else "+" for n in (0, 1)]
        spelled = "%s/%s/%s/#" % (place[0], place[1], self._device["id"])
        await session.subscribe(["dh/command/" + spelled, "dh/command_update/" + spelled])
        await self._check_subscription(session)
        if self._own["presence"]:
            session.publish(*self.notice("online", session.birth()))
        await self._commands.catch_up(session)

    def decode(self, topic, payload):
        """Return the items in a message: an Answer, or a Command."""
        if isinstance(payload, tuple):
            return self._too_large(topic, *payload)
        # The echoes of our own updates, for the most part.
        if topic.startswith("dh/command_update/") and b'"cancel' not in payload:
            return ()
        frame = json.loads(payload)
        if topic.startswith("dh/response/"):
            return (self._answer(frame),)
        command = read(frame["command"])
        return (command,) if command.withdrawn == (frame["action"] == "command/update") else ()

    def verify(self, session, command):
        """Return the command if it may run as it came, or None while the server is asked for it."""
        return self._commands.check(session, command)

    def encode(self, outcome):
        """Return the `command/update` that reports an outcome: topic, payload, key of its answer.

        None once the server must have forgotten the command, for then it would be silent.
        """
        if outcome.attempts and self._clock.ticks() - outcome.since > RETENTION_MS:
            return None
        key, payload = self._update(outcome.command, outcome.status, outcome.result)
        return _REQUEST, payload, key

    def notice(self, name, value):
        """Return the `notification/insert` of a telemetry value: topic, payload."""
        content = {"notification": name, "parameters": value}
        return _REQUEST, self._frame(
            "notification/insert", deviceId=self._device["id"], notification=content
        )[1]

    async def keep(self, session):
        """See that server and subscription are alive, that long commands are remembered there,
        and that nothing was missed."""
        session.spawn(self._commands.follow(session))
        pause = _PROVE_MS
        while True:
            await self._clock.sleep_ms(pause)
            try:
                await self._ask_time(session)
            except OSError:
                self._lost += 1
                raise
            await self._check_subscription(session)
            session.proved()
            self._hold(session)
            if not self.behind:
                await self._commands.catch_up(session)
            pause = _SHORT_MS if self._commands.missed else _ASK_MS

    @property
    def behind(self):
        """Whether commands are known, or feared, to wait at the server."""
        return self._commands.wanted.is_set()

    def _frame(self, action, **fields):
        self._last_id += 1
        fields["action"] = action
        fields["requestId"] = self._last_id
        return self._last_id, json.dumps(fields)

    def _update(self, command, status, result):
        update = {"status": status, "result": result}
        return self._frame(
            "command/update", deviceId=command.device, commandId=command.id, command=update
        )

    def _response(self, action):
        return "dh/response/%s@%s" % (action, self._client)

    async def _request(self, session, action, **fields):
        key, payload = self._frame(action, **fields)
        return await session.request(_REQUEST, payload, key)

    async def _demand(self, session, action, **fields):
        answer = await self._request(session, action, **fields)
        if not answer.ok:
            sentence = "DeviceHive refused %s: %s" % (action, answer.error)
            if answer.code not in (401, 403):
                raise OSError(EIO, sentence)
            hint = _UNKNOWN_USER if answer.code == 401 else _NO_RIGHT
            raise OSError(EACCES, "%s (%s)" % (sentence, hint))
        return answer.value

    def _ask_for(self, session, command, answered):
        # This device's, whatever a push says: it can be another's, sent on by a stranger.
        device = self._device["id"]
        key, payload = self._frame("command/get", deviceId=device, commandId=command.id)
        session.send(_REQUEST, payload, key, answered)
        return key

    async def _authenticate(self, session):
        await session.subscribe([self._response(action) for action in _LOG_IN])
        granted = await self._demand(
            session, "token/refresh", refreshToken=self._own["refresh_token"]
        )
        await self._demand(session, "authenticate", token=granted["accessToken"])

    async def _ask_time(self, session):
        sent = self._clock.ticks()
        value = await self._demand(session, "server/info")
        said = parse_iso8601(value["info"]["serverTimestamp"])
        self._clock.set_ms(said, sent, self._clock.ticks())

    async def _register(self, session):
        # A device that is not there is "access denied" to a client and "not found" to an admin.
        answer = await self._request(session, "device/get", deviceId=self._device["id"])
        if answer.code == 413:
            # Its data is over limits.payload: saved without it, it would be lost.
            log.warning("devicehive: the device is not saved, for its data is too large to read")
            return
        if answer.code == 403:
            # So it is to who may not read devices, too, and a save would wipe the data of this one.
            answer = await self._request(
                session, "command/list", deviceId=self._device["id"], take=1
            )
            if answer.code != 403:
                raise OSError(EACCES, "DeviceHive refused device/get: give the user that right")
        there = answer.value["device"] if answer.ok else {}
        if not answer.ok and answer.code not in (403, 404):
            raise OSError(EIO, "DeviceHive refused device/get: %s" % answer.error)
        wanted = {"name": self._device["name"] or self._device["id"]}
        if self._own["network_id"]:
            wanted["networkId"] = self._own["network_id"]
        if self._own["device_type_id"]:
            wanted["deviceTypeId"] = self._own["device_type_id"]
        # To leave `data` out of a save is to wipe it.
        data = wanted["data"] = there.get("data")
        catalogue = self._catalogue and self._catalogue()
        if catalogue is not None and (data is None or isinstance(data, dict)):
            wanted["data"] = dict(data or {}, commands=catalogue)
        self._place = [
            wanted.get(key) or there.get(key) or "+" for key in ("networkId", "deviceTypeId")
        ]
        if not there or any(there.get(key) != wanted[key] for key in wanted):
            await self._demand(session, "device/save", deviceId=self._device["id"], device=wanted)

    async def _check_subscription(self, session):
        answer = await self._request(session, "subscription/list", type="command")
        if answer.ok and not any(
            one.get("deviceId") == self._device["id"] for one in answer.value["subscriptions"]
        ):
            raise OSError(EIO, "DeviceHive has dropped the subscription")

    def _hold(self, session):
        # An update, whatever its status, has the server remember a command for another 120 s.
        for command in session.working():
            if self._clock.now_ms() - command.timestamp >= _LONG_MS:
                session.publish(_REQUEST, self._update(command, "running", None)[1])

    def _answer(self, frame):
        code = 200 if frame["status"] == "success" else frame.get("code") or 500
        return Answer(frame["requestId"], code, frame, frame.get("error"))

    def _too_large(self, topic, head, tail):
        if topic.startswith("dh/response/"):
            key = after(head, b'"requestId":')
            return (Answer(key, 413, head, "the answer is over limits.payload"),)
        if not topic.startswith("dh/command/"):
            return ()
        device = self._device["id"]
        command = read_too_large(head, b'"command":{"id":', device)
        if command is None and ('"deviceId":"%s"' % device).encode() in tail:
            command = read_too_large(tail, b'"id":', device)
        if command is None:
            log.error("devicehive: a message on %s was too large to be answered", topic)
            return ()
        return (command,)
