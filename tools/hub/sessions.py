"""One party that talks to the hub: who it is, and what it has asked to hear."""

import itertools
from dataclasses import dataclass, field

from .refusal import DENIED, UNAUTHORIZED, Refusal
from .tokens import Principal

# The action that a subscription needs, by the event it waits for.
NEEDED = {
    "command/insert": "GetDeviceCommand",
    "command/update": "GetDeviceCommand",
    "notification/insert": "GetDeviceNotification",
}

# Numbers of subscriptions, over all sessions.
numbers = itertools.count(1_000_000)


@dataclass
class Subscription:
    """A standing wish to hear of an event.

    Arguments:
        id: number sent with every push. event: a key of NEEDED.
        principal: whose rights limit what is heard.
        device: id of the one device, or None. networks, types: ids as text, None for any.
        names: command or notification names, None for any.
        timestamp: from when on, milliseconds; None for what is still to come.
        limit: most records that are sent of what came before, None for all of it.
    """

    id: int
    event: str
    principal: Principal
    device: str | None = None
    networks: list | None = None
    types: list | None = None
    names: list | None = None
    timestamp: int | None = None
    limit: int | None = None

    @property
    def kind(self):
        """`command` or `notification`."""
        return self.event.partition("/")[0]

    def matches(self, event, record):
        """Whether a Command or Notification is one that this subscription waits for."""
        return (
            event == self.event
            and self.device in (None, record.device)
            and (self.networks is None or str(record.network) in self.networks)
            and (self.types is None or str(record.type) in self.types)
            and (self.names is None or record.name in self.names)
            and self.principal.reaches(record)
        )


@dataclass
class Session:
    """A caller's standing: its rights, None before it has logged in, and its subscriptions.

    Attributes:
        subscriptions: those made by an MQTT SUBSCRIBE, by filter; None for a filter that is
            granted and delivers nothing.
        asked: those made by an action, by their number.
    """

    principal: Principal | None = None
    subscriptions: dict = field(default_factory=dict)
    asked: dict = field(default_factory=dict)

    def demand(self, action):
        """The Principal, if it may do the action.

        Raises:
            Refusal: 401 when nobody has logged in, 403 when the action is not granted.
        """
        if self.principal is None:
            raise Refusal(401, UNAUTHORIZED)
        if not self.principal.allows(action):
            raise Refusal(403, DENIED)
        return self.principal

    def alive(self):
        """Every Subscription that delivers, however it was made."""
        return [one for one in (*self.subscriptions.values(), *self.asked.values()) if one]

    def forget(self, condition):
        """Drop the subscriptions for which `condition(subscription)` holds.

        An MQTT client is not told: its filter stays granted, and is dead.
        """
        for topic_filter, one in self.subscriptions.items():
            if one and condition(one):
                self.subscriptions[topic_filter] = None
        for number in [number for number, one in self.asked.items() if condition(one)]:
            del self.asked[number]
