"""DeviceHive over MQTT: requests on `dh/request`, answers on `dh/response/ACTION@CLIENT`.

Formats: docs.devicehive.com, "MQTT API reference", and what the broker (devicehive-mqtt) and the
server (devicehive-java-server) were seen to do where that differs:

- a client id can't be taken over and a lost one may stay locked, so each session has a fresh one
- only a native SUBSCRIBE brings commands; `command/subscribe` over MQTT is never answered
- pushes are QoS 0 and nothing is kept for an absent client, so after a loss commands are listed
- the server keeps a command for 120 s after it was inserted or updated, and never enforces its
  lifetime; an update for one that it has forgotten gets no answer
"""

import json
import os
from errno import EACCES, EIO, ETIMEDOUT

from micropython import const

from .. import log
from ..clock import format_iso8601, parse_iso8601
from ..command import Command
from ..session import Answer

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
}

_REQUEST = "dh/request"

# What may be subscribed before a log-in by token, and what is wanted after either log-in.
_LOG_IN = ("token/refresh", "authenticate")
_ACTIONS = ("server/info", "device/get", "device/save", "command/list", "command/update")

_RETENTION_MS = const(120000)

# The server's time of a command and ours of a loss may differ by this much.
_SLACK_MS = const(5000)
_LISTED = const(20)

_PROVE_MS = const(5000)
_ASK_MS = const(60000)

_ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

# The fields of a command that DeviceHive has and Heed does not use.
_OWN_FIELDS = ("userId", "networkId", "deviceTypeId", "lastUpdated", "status", "result")


def _after(head, name):
    """Return the number or string that follows a name in the first bytes of a JSON text."""
    at = head.find(name)
    rest = head[at + len(name) :].lstrip()
    end = 1
    while end < len(rest) and rest[end] not in b',}"':
        end += 1
    try:
        return None if at < 0 else json.loads(rest[: end + (rest[:1] == b'"')])
    except ValueError:
        return None


def check(settings):
    """Return what is wrong with these settings, a list of sentences."""
    problems = []
    device, own = settings["device"]["id"], settings["devicehive"]
    if len(device) > 48 or any(letter not in _ID_CHARACTERS for letter in device):
        problems.append("device.id: DeviceHive takes letters, digits and dashes, at most 48")
    if not own["refresh_token"] and not (own["login"] and own["password"]):
        problems.append("devicehive: give login and password, or refresh_token")
    if own["tls"] and not own["ca"]:
        problems.append("devicehive.ca: tls needs the file of the authority's certificate")
    return problems


class Cloud:
    """Speaks DeviceHive's MQTT API for one device.

    settings: the checked settings; clock: the agent's Clock
    """

    def __init__(self, settings, clock):
        self._device = settings["device"]
        self._own = settings["devicehive"]
        self._remembers = settings["journal"] == "full"
        self._clock = clock
        self._client = ""
        self._last_id = 0
        self._born = None  # the server's time when it was first known
        self._alive = None  # the same up to when no command can have been missed
        self._behind = False  # the last list failed: what came before is still to be asked for

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
            from ..tls import context  # only where it is used: it brings ssl

            endpoint["tls"] = context(own["ca"])
        if not own["refresh_token"]:
            endpoint["user"] = own["login"]
            endpoint["password"] = own["password"]
        return endpoint

    async def open(self, session):
        """Log in, set the clock, register, subscribe, and catch up.

        Raises OSError: EACCES where DeviceHive refuses this user or this device.
        """
        if self._own["refresh_token"]:
            await self._authenticate(session)
        await session.subscribe([self._response(action) for action in _ACTIONS])
        await self._ask_time(session)
        await self._register(session)
        # The only filter that gets every name, also one with a slash; network and type of a
        # command are not ours to know.
        await session.subscribe(["dh/command/+/+/%s/#" % self._device["id"]])
        await self._catch_up(session)

    def decode(self, topic, payload):
        """Return the items in a message: an Answer, or a Command."""
        if isinstance(payload, tuple):
            return self._too_large(topic, payload[0])
        frame = json.loads(payload)
        if topic.startswith("dh/response/"):
            return (self._answer(frame),)
        if frame["action"] == "command/insert":
            return (self._command(frame["command"]),)
        return ()

    def encode(self, outcome):
        """Return the `command/update` that reports an outcome: topic, payload, key of its answer.

        None once the server must have forgotten the command, for then it would be silent.
        """
        command = outcome.command
        if outcome.attempts and self._clock.ticks() - outcome.since > _RETENTION_MS:
            return None
        update = {"status": outcome.status, "result": outcome.result}
        key, payload = self._frame(
            "command/update", deviceId=command.device, commandId=command.id, command=update
        )
        return _REQUEST, payload, key

    def notice(self, name, value):
        """Return the `notification/insert` of a telemetry value: topic, payload."""
        content = {"notification": name, "parameters": value}
        device = self._device["id"]
        return _REQUEST, self._frame("notification/insert", deviceId=device, notification=content)[
            1
        ]

    async def keep(self, session):
        """Ask for the server's time now and then.

        It is the only sign of a server that is gone while the broker still answers pings.
        """
        await self._clock.sleep_ms(_PROVE_MS)
        while True:
            await self._ask_time(session)
            if self._behind:
                await self._catch_up(session)
            else:
                self._alive = self._clock.now_ms()
            session.proved()
            await self._clock.sleep_ms(_ASK_MS)

    def _frame(self, action, **fields):
        self._last_id += 1
        fields["action"] = action
        fields["requestId"] = self._last_id
        return self._last_id, json.dumps(fields)

    def _response(self, action):
        return "dh/response/%s@%s" % (action, self._client)

    async def _request(self, session, action, **fields):
        key, payload = self._frame(action, **fields)
        return await session.request(_REQUEST, payload, key)

    async def _demand(self, session, action, **fields):
        answer = await self._request(session, action, **fields)
        if not answer.ok:
            errno = EACCES if answer.code in (401, 403) else EIO
            raise OSError(errno, "DeviceHive refused %s: %s" % (action, answer.error))
        return answer.value

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
        wanted = {"name": self._device["name"] or self._device["id"]}
        if self._own["network_id"]:
            wanted["networkId"] = self._own["network_id"]
        if self._own["device_type_id"]:
            wanted["deviceTypeId"] = self._own["device_type_id"]
        # A device that is not there is "access denied" to a client and "not found" to an admin.
        answer = await self._request(session, "device/get", deviceId=self._device["id"])
        there = answer.value["device"] if answer.ok else {}
        if all(there.get(key) == wanted[key] for key in wanted):
            return
        # To leave `data` out of a save is to wipe it.
        wanted["data"] = there.get("data")
        await self._demand(session, "device/save", deviceId=self._device["id"], device=wanted)

    async def _catch_up(self, session):
        # Without a journal that tells what ran, commands from before a reset are left alone.
        if self._born is None:
            # With one, all that the server still holds: a sender's own timestamp may be old.
            self._born = 0 if self._remembers else self._clock.now_ms()
            self._alive = self._born
        start = format_iso8601(max(self._born, self._alive - _SLACK_MS))
        asked = self._clock.now_ms()
        entries = await self._listed(session, start)
        self._behind = entries is None
        if entries is None:
            return
        self._alive = asked
        for entry in entries:
            # What was updated after it was inserted has been answered.
            if entry["lastUpdated"] == entry["timestamp"] or not entry["status"]:
                session.deliver(self._command(entry))

    async def _listed(self, session, start):
        device = self._device["id"]
        try:
            answer = await self._request(
                session, "command/list", deviceId=device, start=start, take=_LISTED
            )
        except OSError as e:
            # An answer over the inbound limit is passed over: no reason to lose the session.
            if e.errno != ETIMEDOUT:
                raise
            answer = Answer(None, 500, None, "no answer")
        if not answer.ok:
            log.warning("devicehive: commands can't be listed (%s)", answer.error)
            return None
        entries = answer.value["commands"]
        if len(entries) >= _LISTED:
            log.warning("devicehive: %d commands or more came meanwhile", _LISTED)
        return sorted(entries, key=lambda entry: entry["timestamp"])

    def _answer(self, frame):
        code = 200 if frame["status"] == "success" else frame.get("code") or 500
        return Answer(frame["requestId"], code, frame, frame.get("error"))

    def _too_large(self, topic, head):
        # Only where the id is known to be the command's own, and not one in its parameters.
        if topic.startswith("dh/response/"):
            key = _after(head, b'"requestId":')
            return (Answer(key, 413, None, "the answer is over limits.payload"),)
        id = _after(head, b'"command":{"id":')
        if id is None:
            log.error("devicehive: a message on %s was too large to be answered", topic)
            return ()
        entry = {
            "id": id,
            "command": "/".join(topic.split("/")[5:]),
            "parameters": None,
            "timestamp": _after(head, b'"timestamp":'),
            "lifetime": None,
            "deviceId": self._device["id"],
        }
        command = self._command(entry)
        command.refusal = ("too_large", "the command is over limits.payload of this board")
        return (command,)

    def _command(self, entry):
        timestamp, refusal = entry["timestamp"], None
        try:
            timestamp = None if timestamp is None else parse_iso8601(timestamp)
        except ValueError as e:
            timestamp, refusal = None, ("rejected", "timestamp: %s" % e)
        return Command(
            entry["id"],
            entry["command"] or "",
            entry["parameters"],
            timestamp,
            entry["lifetime"],
            device=entry["deviceId"],
            cloud={field: entry.get(field) for field in _OWN_FIELDS},
            refusal=refusal,
        )
