"""One party that talks to the hub: who it is, and what it has asked to hear."""

from dataclasses import dataclass, field

from .refusal import DENIED, UNAUTHORIZED, Refusal
from .tokens import Principal

# The action that a subscription needs, by the event it waits for.
NEEDED = {
    "command/insert": "GetDeviceCommand",
    "command/update": "GetDeviceCommand",
    "notification/insert": "GetDeviceNotification",
}


@dataclass
class Subscription:
    """A standing wish to hear of an event.

    Arguments:
        id: number sent with every push. event: a key of NEEDED.
        principal: whose rights limit what is heard.
        device: id of the one device, or None. networks, types: ids as text, None for any.
        names: command or notification names, None for any.
        timestamp: when it was made, milliseconds.
    """

    id: int
    event: str
    principal: Principal
    device: str | None = None
    networks: list | None = None
    types: list | None = None
    names: list | None = None
    timestamp: int = 0

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
    """A caller's standing: its rights, None before it has logged in, and its subscriptions."""

    principal: Principal | None = None
    subscriptions: dict = field(default_factory=dict)

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
