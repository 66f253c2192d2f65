"""DeviceHive's JSON for what the store keeps, and the reading of request fields."""

import re

from . import stamp
from .refusal import INVALID_PARAMETERS, Refusal


def device(record):
    """A device as `device/get` shows it (the documentation's page `device`)."""
    return {
        "id": record.id,
        "name": record.name,
        "data": record.data,
        "networkId": record.network,
        "deviceTypeId": record.type,
        "isBlocked": record.blocked,
    }


def command(record):
    """A command with all of its 12 keys, unset ones null (the server's DeviceCommand)."""
    return {
        "id": record.id,
        "command": record.name,
        "timestamp": stamp.write(record.timestamp),
        "lastUpdated": stamp.write(record.last_updated),
        "userId": record.user,
        "deviceId": record.device,
        "networkId": record.network,
        "deviceTypeId": record.type,
        "parameters": record.parameters,
        "lifetime": record.lifetime,
        "status": record.status,
        "result": record.result,
    }


def inserted(record):
    """The four fields of a command that its sender is told."""
    shown = command(record)
    return {key: shown[key] for key in ("id", "timestamp", "lastUpdated", "userId")}


def notification(record):
    """A notification as `notification/list` shows it."""
    return {
        "id": record.id,
        "notification": record.name,
        "deviceId": record.device,
        "networkId": record.network,
        "deviceTypeId": record.type,
        "timestamp": stamp.write(record.timestamp),
        "parameters": record.parameters,
    }


def subscription(record):
    """A subscription as `subscription/list` shows it."""
    return {
        "subscriptionId": record.id,
        "type": record.kind,
        "deviceId": record.device,
        "networkIds": record.networks,
        "deviceTypeIds": record.types,
        "names": record.names,
        "timestamp": None if record.timestamp is None else stamp.write(record.timestamp),
    }


def push(event, record, subscription):
    """The frame that tells a subscriber of a Command or Notification."""
    shown = command(record) if subscription.kind == "command" else notification(record)
    return {"action": event, subscription.kind: shown, "subscriptionId": subscription.id}


def body(request, key):
    """The object under a key; Refusal 400 where there is none."""
    value = request.get(key)
    if not isinstance(value, dict):
        raise Refusal(400, INVALID_PARAMETERS)
    return value


def name(value, required=False):
    """A name of 1 to 128 characters, or None where it may be absent; else Refusal 400."""
    if value is None and not required:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= 128:
        raise Refusal(400, INVALID_PARAMETERS)
    return value


def number(value, default=None):
    """A whole number, also from its decimal text, as the server takes it; else Refusal 400."""
    if value is None:
        return default
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value, re.ASCII):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Refusal(400, INVALID_PARAMETERS)


def flag(value):
    """Whether a value is true, also as REST writes it: text in any case."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def time_ms(value):
    """Milliseconds since 1970, or None where it is absent; else Refusal 400."""
    if value is None:
        return None
    try:
        return stamp.read(value)
    except ValueError:
        raise Refusal(400, INVALID_PARAMETERS) from None


def page(records, request, sort_keys):
    """Filter by `start` and `end`, both inclusive, cut by `skip` and `take`, then sort.

    Cutting before sorting is what server 4.1 does: who asks for fewer than there are gets an
    arbitrary part. `take` is 20 by default, whatever the documentation says.

    Arguments:
        records: Commands or Notifications. request: the caller's fields.
        sort_keys: the values of `sortField` allowed, each with a key function.
    """
    start, end = time_ms(request.get("start")), time_ms(request.get("end"))
    found = [
        record
        for record in records
        if (start is None or record.timestamp >= start)
        and (end is None or record.timestamp <= end)
    ]
    skip, take = number(request.get("skip"), 0), number(request.get("take"), 20)
    found = found[skip : skip + take] if skip >= 0 and take > 0 else []
    return _sorted(found, request, sort_keys)


def _sorted(records, request, sort_keys):
    sort_field = request.get("sortField")
    if sort_field is None:
        return records
    key = sort_keys.get(str(sort_field).lower())
    if key is None:
        raise Refusal(400, INVALID_PARAMETERS)
    descending = str(request.get("sortOrder")).upper() == "DESC"
    return sorted(records, key=key, reverse=descending)
