"""Subscriptions that an action or a poll asks for: what they may take, and what they missed.

The rules are those of the server's FilterBuilderService and of its command cache.
"""

from . import fields
from .refusal import INVALID_PARAMETERS, Refusal
from .sessions import Subscription, numbers

# The server's DEFAULT_TAKE.
_LIMIT = 20


class Subscriptions:
    """Makes Subscriptions to what a Store keeps.

    Arguments:
        store: the Store.
        device: `device(principal, device_id)` gives the Device or raises Refusal.
    """

    def __init__(self, store, device):
        self._store = store
        self._device = device

    def make(self, principal, event, request):
        """A Subscription, or None where it could never match anything.

        Arguments:
            principal: whose rights limit it. event: what it waits for.
            request: deviceId, networkIds, deviceTypeIds, names, timestamp and limit, all
                optional. Where a device is named, network and type are not looked at.

        Raises:
            Refusal: 400 for what makes no sense, 403 or 404 for what is out of reach.
        """
        device = request.get("deviceId")
        networks = _ids(request, "networkIds", self._store.networks, principal.reaches_network)
        types = _ids(request, "deviceTypeIds", self._store.types, principal.reaches_type)
        names = _names(request.get("names"))
        if device is not None:
            self._device(principal, device)
            networks = types = None
        made = Subscription(
            next(numbers),
            event,
            principal,
            device,
            networks,
            types,
            names,
            fields.time_ms(request.get("timestamp")),
        )
        if made.kind == "command":
            made.limit = fields.number(request.get("limit"), _LIMIT)
            if made.limit < 0:
                raise Refusal(400, "Limit can't be less than 0.")
        hopeless = names == [] or not principal.networks or not principal.types
        return None if hopeless else made

    def missed(self, subscription):
        """The records from the subscription's timestamp on; none where it has no timestamp.

        As with `command/list`, the timestamp itself is included, the order is arbitrary, and
        of a command that was updated it is still the first timestamp that counts.
        """
        if subscription.timestamp is None:
            return []
        found = [
            record
            for record in self._kept(subscription)
            if record.timestamp >= subscription.timestamp
            and subscription.matches(subscription.event, record)
        ]
        return found[: subscription.limit]

    def _kept(self, subscription):
        if subscription.kind == "command":
            updated = subscription.event == "command/update"
            kept = self._store.commands(subscription.device)
            return [command for command in kept if command.updated or not updated]
        devices = self._store.devices.values()
        return [
            notification
            for device in devices
            if subscription.device in (None, device.id)
            for notification in device.notifications
        ]


def _ids(request, key, known, reaches):
    """The ids of networks or device types as text, None for any."""
    wanted = request.get(key)
    if wanted is None or wanted == []:
        return None
    if not isinstance(wanted, list):
        raise Refusal(400, INVALID_PARAMETERS)
    ids = [fields.number(one) for one in wanted]
    if not all(one in known and reaches(one) for one in ids):
        thing = "Networks" if key == "networkIds" else "Device types"
        raise Refusal(403, f"{thing} with such {key} wasn't found: {{{ids}}}")
    return [str(one) for one in ids]


def _names(wanted):
    if wanted is None:
        return None
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise Refusal(400, INVALID_PARAMETERS)
    return wanted
