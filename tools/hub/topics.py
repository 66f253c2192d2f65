"""MQTT topics: which filters are sound, what they match, and what they mean to DeviceHive."""

# Topic of each event, from the broker's TopicStructure; parts 3 to 6 are the network, the
# device type, the device and the name of the command or notification.
_EVENT_TOPICS = {
    "command/insert": "dh/command",
    "command/update": "dh/command_update",
    "notification/insert": "dh/notification",
}
_EVENTS = {topic: event for event, topic in _EVENT_TOPICS.items()}

REQUEST = "dh/request"
RESPONSE = "dh/response/"


def sound_name(topic):
    """Whether a topic may be published to (MQTT 3.1.1, 4.7)."""
    return bool(topic) and not any(sign in topic for sign in "+#\0")


def sound_filter(topic_filter):
    """Whether a filter may be subscribed to (MQTT 3.1.1, 4.7.1)."""
    levels = topic_filter.split("/")
    return (
        bool(topic_filter)
        and "\0" not in topic_filter
        and "#" not in "".join(levels[:-1])
        and all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels)
    )


def matches(topic_filter, topic):
    """Whether a sound filter matches a topic (MQTT 3.1.1, 4.7.1 and 4.7.2)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if levels[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        # `a/#` matches `a` itself too.
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(
        want in ("+", level) for want, level in zip(wanted, levels, strict=True)
    )


def covers(wide, narrow):
    """Whether a sound filter matches all that another one matches, and is not the same."""
    return (
        wide != narrow
        and (wide.endswith("#") or not narrow.endswith("#"))
        and matches(wide, narrow)
    )


def is_hive(topic):
    """Whether a topic or filter belongs to DeviceHive rather than to ordinary MQTT."""
    return topic == "dh" or topic.startswith("dh/")


def response(action, client_id):
    """The topic that carries the answers to an action."""
    return f"{RESPONSE}{action}@{client_id}"


def open_responses(client_id):
    """The response topics that may be subscribed before anyone has logged in."""
    actions = ("authenticate", "token", "token/refresh", "token/create")
    return {response(action, client_id) for action in actions}


def push(event, record):
    """The topic of a push, or None where the broker delivers none.

    A name with `@` is taken for a private topic and never delivered; a name with a wildcard
    cannot be a topic. No name leaves an empty last level.
    """
    name = record.name or ""
    if event not in _EVENT_TOPICS or "@" in name:
        return None
    topic = "/".join(
        (
            _EVENT_TOPICS[event],
            str(record.network),
            str(record.type),
            record.device,
            name,
        )
    )
    return topic if sound_name(topic) else None


def meaning(topic_filter):
    """What a filter asks of DeviceHive: None, or the fields of a Subscription.

    The broker reads four levels and no more: a name of several levels becomes its first
    one, which then matches no command at all. Where a device is named, network and type
    are not looked at.
    """
    levels = topic_filter.split("/")
    event = _EVENTS.get("/".join(levels[:2]))
    if event is None:
        return None
    network, device_type, device, name = (
        None if level in ("+", "#", "") else level for level in (levels[2:6] + [""] * 4)[:4]
    )
    found = {"event": event, "device": device, "names": None if name is None else [name]}
    if device is None:
        found["networks"] = None if network is None else [network]
        found["types"] = None if device_type is None else [device_type]
    return found
