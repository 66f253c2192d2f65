"""DeviceHive as a device sees it, in memory: for tests of the agent on the fake transport."""

import json

from agent.clock import format_iso8601, parse_iso8601
from host_tests.fake_transport import FakeTransport

_ORDER = (
    "action requestId id command timestamp lastUpdated userId deviceId networkId deviceTypeId "
    "parameters lifetime status code error result"
).split()


def _written(value):
    # As the server writes it: without blanks, and in an order that MicroPython does not keep.
    if isinstance(value, list):
        return "[" + ",".join([_written(item) for item in value]) + "]"
    if not isinstance(value, dict):
        return json.dumps(value)
    keys = sorted(value, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER))
    return "{" + ",".join(['"%s":%s' % (key, _written(value[key])) for key in keys]) + "}"


class FakeDeviceHive:
    """Answers the requests of one device and keeps its commands.

    server_ms: a function that gives the server's Unix milliseconds
    """

    def __init__(self, clock, device="dev-1"):
        self.clock = clock
        self.device = device
        self.ahead_ms = 0  # how far the server's clock is ahead of the board's
        self.transport = FakeTransport(clock, self.answer)
        self.commands = []
        self.updates = []  # (command id, status, result), as they came
        self.requests = []  # every action that came
        self.notifications = []  # (name, parameters) of telemetry
        self.silent = []  # actions that get no answer
        self.forgotten = []  # ids whose updates get no answer
        self.refused = {}  # action: (code, error)
        self.forgives = []  # actions after which nothing is refused any more
        self.unstored = []  # commands that were pushed before they can be found
        self.dropped = False  # the subscription to commands is gone
        self.starved = False  # another client's subscription takes the pushes
        self.exclusive = False  # `start` and `end` of a list, as in server 3.5
        self.record = None  # the device as it was saved
        self._last_id = 0
        self._lists = 0

    def server_ms(self):
        """Return the server's time."""
        return self.clock._time.unix_ms + self.ahead_ms

    def insert(self, name, parameters=None, lifetime=None, **fields):
        """Insert a command and push it; return its id. `fields` take the place of the server's."""
        entry = self.entry(name, parameters, lifetime, **fields)
        self.push(entry)
        return entry["id"]

    def entry(self, name, parameters=None, lifetime=None, **fields):
        """Return a command as the server keeps it, with all its twelve keys."""
        self._last_id += 1
        now = format_iso8601(self.server_ms())
        entry = {
            "id": self._last_id,
            "command": name,
            "timestamp": now,
            "lastUpdated": fields.get("timestamp", now),
            "userId": 1,
            "deviceId": self.device,
            "networkId": 1,
            "deviceTypeId": 1,
            "parameters": parameters,
            "lifetime": lifetime,
            "status": None,
            "result": None,
        }
        entry.update(fields)
        return entry

    def push(self, entry):
        """Keep a command and push it to the device, if it is connected."""
        if entry not in self.commands:
            self.commands.append(entry)
        self.spoof(entry)

    def spoof(self, entry, event="command/insert"):
        """Push a command that the server knows nothing of, as any client of the broker can."""
        if self.transport.connected and not self.starved:
            level = "command" if event == "command/insert" else "command_update"
            topic = "dh/%s/1/1/%s/%s" % (level, self.device, entry["command"])
            frame = {"action": event, "command": entry, "subscriptionId": 1}
            self.transport.push(topic, _written(frame).encode())

    def update(self, id, status, result=None):
        """Update a command as any client may, and push that, too: also to whoever did it."""
        for entry in self.commands:
            if entry["id"] == id:
                entry.update({"status": status, "result": result})
                entry["lastUpdated"] = format_iso8601(self.server_ms() + 1)
                self.spoof(entry, "command/update")

    def statuses(self):
        """Return {command id: [statuses reported]}."""
        found = {}
        for id, status, _ in self.updates:
            found.setdefault(id, []).append(status)
        return found

    def answer(self, topic, payload):
        """Take one message of the device; return the answers to it."""
        if topic != "dh/request":
            raise ValueError("a device publishes to dh/request alone, not to " + topic)
        frame = json.loads(payload)
        action = frame["action"]
        self.requests.append(action)
        if action in self.silent or frame.get("commandId") in self.forgotten:
            return []
        reply = {"action": action, "requestId": frame["requestId"], "status": "success"}
        if action in self.refused:
            code, error = self.refused[action]
            reply.update({"status": "error", "code": code, "error": error})
        else:
            if action in self.forgives:
                self.refused.clear()
            reply.update(getattr(self, "_" + action.replace("/", "_"))(frame))
        client = self.transport.endpoints[-1]["client_id"]
        return [("dh/response/%s@%s" % (action, client), _written(reply).encode())]

    def _server_info(self, frame):
        return {"info": {"serverTimestamp": format_iso8601(self.server_ms())}}

    def _token_refresh(self, frame):
        return {"accessToken": "access"}

    def _authenticate(self, frame):
        return {}

    def _device_get(self, frame):
        if self.record is None:
            return {"status": "error", "code": 404, "error": "Device not found"}
        return {"device": self.record}

    def _device_save(self, frame):
        # What is left out stays, but for the data: that is wiped.
        self.record = dict(self.record or {}, data=None)
        self.record.update(frame["device"])
        return {}

    def _notification_insert(self, frame):
        content = frame["notification"]
        self.notifications.append((content["notification"], content["parameters"]))
        return {}

    def _subscription_list(self, frame):
        subscribed = "dh/command/" in "".join(self.transport.topics)
        entry = {"subscriptionId": 1, "type": frame["type"], "deviceId": self.device}
        return {"subscriptions": [entry] if subscribed and not self.dropped else []}

    def _command_get(self, frame):
        for entry in self.commands:
            if entry["deviceId"] != frame["deviceId"]:
                continue
            if entry["id"] == frame["commandId"] and entry not in self.unstored:
                return {"command": entry}
        error = "Command with id = %d not found" % frame["commandId"]
        return {"status": "error", "code": 404, "error": error}

    def _command_list(self, frame):
        found = [one for one in self.commands if one["deviceId"] == frame["deviceId"]]
        found = [one for one in found if one not in self.unstored]
        start, end = frame.get("start", "1970-01-01T00:00:00.000"), frame.get("end", "9")
        if self.exclusive:
            found = [one for one in found if start < one["timestamp"] < end]
        found = [one for one in found if start <= one["timestamp"] <= end]
        # No order that holds, but for a moment's commands; what is cut off is cut off before any.
        self._lists += 1
        if self._lists % 2 or parse_iso8601(frame.get("end", start)) - parse_iso8601(start) < 3:
            found.reverse()
        return {"commands": found[frame.get("skip", 0) :][: frame.get("take", 20)]}

    def _command_update(self, frame):
        id, update = frame["commandId"], frame["command"]
        self.updates.append((id, update["status"], update["result"]))
        self.update(id, update["status"], update["result"])
        return {}
