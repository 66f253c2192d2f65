"""DeviceHive as a device sees it, in memory: for tests of the agent on the fake transport."""

import json

from agent.clock import format_iso8601
from host_tests.fake_transport import FakeTransport


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
        self.record = None  # the device as it was saved
        self._last_id = 0

    def server_ms(self):
        """Return the server's time."""
        return self.clock._time.unix_ms + self.ahead_ms

    def insert(self, name, parameters=None, lifetime=None, **fields):
        """Insert a command and push it; return its id. `fields` take the place of the server's."""
        entry = self.entry(name, parameters, lifetime, **fields)
        self.commands.append(entry)
        self.push(entry)
        return entry["id"]

    def entry(self, name, parameters=None, lifetime=None, **fields):
        """Return a command as the server keeps it, with all its twelve keys."""
        self._last_id += 1
        now = format_iso8601(self.server_ms())
        entry = {
            "id": self._last_id,
            "command": name,
            "parameters": parameters,
            "lifetime": lifetime,
            "timestamp": now,
            "lastUpdated": fields.get("timestamp", now),
            "userId": 1,
            "deviceId": self.device,
            "networkId": 1,
            "deviceTypeId": 1,
            "status": None,
            "result": None,
        }
        entry.update(fields)
        return entry

    def push(self, entry):
        """Push a command to the device, if it is connected."""
        if self.transport.connected:
            topic = "dh/command/1/1/%s/%s" % (self.device, entry["command"])
            frame = {"action": "command/insert", "command": entry, "subscriptionId": 1}
            self.transport.push(topic, json.dumps(frame).encode())

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
            reply.update(getattr(self, "_" + action.replace("/", "_"))(frame))
        client = self.transport.endpoints[-1]["client_id"]
        return [("dh/response/%s@%s" % (action, client), json.dumps(reply).encode())]

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
        self.record = frame["device"]
        return {}

    def _notification_insert(self, frame):
        content = frame["notification"]
        self.notifications.append((content["notification"], content["parameters"]))
        return {}

    def _command_list(self, frame):
        found = [one for one in self.commands if one["timestamp"] >= frame["start"]]
        return {"commands": found[: frame["take"]]}

    def _command_update(self, frame):
        id, update = frame["commandId"], frame["command"]
        self.updates.append((id, update["status"], update["result"]))
        for entry in self.commands:
            if entry["id"] == id:
                entry.update(update)
                entry["lastUpdated"] = format_iso8601(self.server_ms() + 1)
        return {}
