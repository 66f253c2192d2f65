"""What the hub remembers: users, networks, device types, devices, commands, notifications.

Everything lives in memory. All times come from one injected clock, so that a test can move
it. Those who want to hear of changes register a callback; see `Store.listen`.
"""

import random
from collections import deque
from dataclasses import dataclass, field

from .refusal import INVALID_PARAMETERS, Refusal

# The server's default (devicehive.cache.commands.ttl.seconds), counted from the insert or
# from the last update.
RETENTION_MS = 120_000
# Enough to look at; a device that reports for days must not fill the memory.
_NOTIFICATIONS = 100


@dataclass
class User:
    """Someone who may log in; `networks` and `types` are sets of ids, None for all."""

    id: int
    login: str
    password: str
    admin: bool = True
    networks: set | None = None
    types: set | None = None
    attempts: int = 0
    locked: bool = False


@dataclass
class Device:
    """A registered device."""

    id: str
    name: str
    data: object = None
    network: int = 1
    type: int = 1
    blocked: bool = False
    notifications: deque = field(default_factory=lambda: deque(maxlen=_NOTIFICATIONS))


@dataclass
class Command:
    """A command as it was sent, with what became of it; times in milliseconds."""

    id: int
    device: str
    network: int
    type: int
    user: int
    name: str | None
    timestamp: int
    parameters: object = None
    lifetime: object = None
    status: object = None
    result: object = None
    last_updated: int = 0
    updated: bool = False
    touched: int = 0


@dataclass
class Notification:
    """Telemetry from a device; time in milliseconds."""

    id: int
    device: str
    network: int
    type: int
    name: str
    timestamp: int
    parameters: object = None


class Store:
    """The hub's memory.

    Arguments:
        clock: gives the time in seconds since 1970, as `time.time` does.

    Attributes:
        users: by login. devices: by id. networks, types: names by id; number 1 exists.
        late_ms: for how long a new command cannot be found although it has been told.
    """

    def __init__(self, clock):
        self._clock = clock
        self._random = random.Random()
        self._listeners = []
        # Ordered by the time of insert or last update, so the oldest go from the front.
        self._commands = {}
        self.late_ms = 0
        self.users = {}
        self.devices = {}
        self.networks = {1: "default network"}
        self.types = {1: "default device type"}

    def now_ms(self):
        """The hub's time in milliseconds since 1970."""
        return int(self._clock() * 1000)

    def listen(self, callback):
        """Have `callback(event, record)` called on each change.

        The events are `command/insert`, `command/update`, `notification/insert` and
        `device/delete`; the record is the Command, Notification or Device.
        """
        self._listeners.append(callback)

    def unlisten(self, callback):
        """Undo `listen`."""
        self._listeners.remove(callback)

    def _tell(self, event, record):
        # A copy: a listener may leave while it is being told.
        for callback in list(self._listeners):
            callback(event, record)

    def add_user(self, login, password, **fields):
        """Add a user and return it; `fields` are those of User."""
        user = User(len(self.users) + 1, login, password, **fields)
        self.users[login] = user
        return user

    def user(self, user_id):
        """The user with that id, or None."""
        return next((user for user in self.users.values() if user.id == user_id), None)

    def save_device(self, device_id, name, data, **given):
        """Make the device or change it, and return it.

        Arguments:
            name: None leaves it; a new device needs one. data: always set, None wipes it.
            given: network, type, blocked; None leaves what is there or takes the default.

        Raises:
            Refusal: 400 for a new device without a name.
        """
        device = self.devices.get(device_id)
        if device is None:
            if name is None:
                raise Refusal(400, INVALID_PARAMETERS)
            device = self.devices[device_id] = Device(device_id, name)
        device.data = data
        for key, value in {"name": name, **given}.items():
            if value is not None:
                setattr(device, key, value)
        return device

    def delete_device(self, device):
        """Forget a device and its commands."""
        del self.devices[device.id]
        for key in [key for key in self._commands if key[0] == device.id]:
            del self._commands[key]
        self._tell("device/delete", device)

    def insert_command(self, device, user_id, name, timestamp=None, **fields):
        """Keep a command for 120 s, tell the listeners, and return it.

        Arguments:
            device: the Device it is for. user_id: the sender.
            timestamp: the sender's own, in milliseconds; None takes the hub's time.
            fields: parameters, lifetime, status, result: any JSON value, kept as it is.
        """
        self._sweep()
        now = self.now_ms()
        stamp = now if timestamp is None else timestamp
        command = Command(
            self._new_id(device.id),
            device.id,
            device.network,
            device.type,
            user_id,
            name,
            stamp,
            last_updated=stamp,
            touched=now,
            **fields,
        )
        self._commands[device.id, command.id] = command
        self._tell("command/insert", command)
        return command

    def _new_id(self, device_id):
        # The server takes the absolute value of a random 32-bit number: no order in it.
        while True:
            command_id = abs(self._random.randint(-(2**31) + 1, 2**31 - 1))
            if (device_id, command_id) not in self._commands:
                return command_id

    def command(self, device_id, command_id):
        """The command, or None when it never was or is no longer kept."""
        self._sweep()
        command = self._commands.get((device_id, command_id))
        return command if command is not None and self._stored(command) else None

    def commands(self, device_id=None):
        """The commands that are still kept, least recently touched first; None: of any device."""
        self._sweep()
        return [
            command
            for key, command in self._commands.items()
            if device_id in (None, key[0]) and self._stored(command)
        ]

    def _stored(self, command):
        # The wall clock may step back, and hides nothing then.
        waited = self.now_ms() - command.touched
        return command.updated or not self.late_ms or waited >= self.late_ms

    def update_command(self, command, status, result):
        """Set what is not None, keep the command for another 120 s, tell the listeners."""
        if status is not None:
            command.status = status
        if result is not None:
            command.result = result
        command.updated = True
        command.last_updated = command.touched = self.now_ms()
        key = command.device, command.id
        self._commands[key] = self._commands.pop(key)
        self._tell("command/update", command)

    def _sweep(self):
        oldest = self.now_ms() - RETENTION_MS
        while self._commands:
            key = next(iter(self._commands))
            if self._commands[key].touched > oldest:
                return
            del self._commands[key]

    def insert_notification(self, device, name, parameters, timestamp=None):
        """Keep a notification among the device's newest 100, tell the listeners, return it."""
        notification = Notification(
            abs(self._random.randint(-(2**31) + 1, 2**31 - 1)),
            device.id,
            device.network,
            device.type,
            name,
            self.now_ms() if timestamp is None else timestamp,
            parameters,
        )
        device.notifications.append(notification)
        self._tell("notification/insert", notification)
        return notification
