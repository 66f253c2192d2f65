"""The settings file: read, check, defaults."""

import json

from .command import SettingsError

REQUIRED = None

SPECIFICATION = {
    "device": {"id": (str, REQUIRED), "name": (str, "")},
    "network": {
        "ssid": (str, ""),
        "password": (str, ""),
        "known": ([{"ssid": (str, REQUIRED), "password": (str, "")}], []),
        "country": (str, ""),
        "hostname": (str, ""),
        "power": (("performance", "powersave", "none"), ""),
        "ntp": ([(str, REQUIRED)], ["pool.ntp.org", "time.cloudflare.com"]),
    },
    "limits": {
        "running": (int, 4),
        "queue": (int, 8),
        "outbox": (int, 32),
        "ids": (int, 64),
        "payload": (int, 8192),
        "lifetime": (int, 0),
        "clock_wait_s": (int, 60),
        "abandoned": (int, 2),
    },
    "watchdog": {"timeout_ms": (int, 8000), "offline_s": (int, 0)},
}

_CHOICES = {"cloud": ("devicehive",), "journal": ("full", "results", "off")}
_SWITCHES = {"progress": False}

_WORDS = {str: "a string", int: "an integer", bool: "true or false"}

_SECRETS = ("password", "refresh_token")


def read(path):
    """Return what a settings file holds; raises SettingsError where that is not an object."""
    try:
        with open(path) as file:
            found = json.load(file)
    except OSError:
        raise SettingsError("there is no settings file %s; the README shows one" % path)
    except ValueError:
        raise SettingsError("%s is not JSON; the README shows a settings file" % path)
    if not isinstance(found, dict):
        raise SettingsError("%s holds no JSON object; the README shows a settings file" % path)
    return found


def check(found):
    """Return complete settings: what was found, checked, with a default for all that was not.

    Raises SettingsError with all problems at once, each with its key and what fits.
    """
    problems, checked = [], {}
    for key, fits in _CHOICES.items():
        checked[key] = found.get(key, fits[0])
        if checked[key] not in fits:
            text = "%s: %r came, one of these fits: %s"
            problems.append(text % (key, checked[key], ", ".join(fits)))
    name = checked["cloud"]
    sections = dict(SPECIFICATION)
    if name in _CHOICES["cloud"]:
        cloud = load_cloud(name)
        sections[name] = cloud.SETTINGS
    for key, section in sections.items():
        checked[key] = _section(key, found.get(key, {}), section, problems)
    for key, default in _SWITCHES.items():
        checked[key] = _value(key, found, key, (bool, default), problems)
    for key in sorted(found):
        if key not in checked:
            problems.append("%s is not a setting" % key)
    if not problems:
        problems = cloud.check(checked)
    if problems:
        raise SettingsError("; ".join(problems))
    return checked


def load_cloud(name):
    """Return the module of a cloud; only the one that is used costs memory."""
    return __import__("agent.clouds." + name, None, None, (name,))


def _section(name, found, specification, problems):
    if not isinstance(found, dict):
        problems.append("%s: an object fits, not %s" % (name, type(found).__name__))
        found = {}
    for key in sorted(found):
        if key not in specification:
            fits = ", ".join(sorted(specification))
            problems.append("%s.%s is not a setting; there is: %s" % (name, key, fits))
    return {
        key: _value("%s.%s" % (name, key), found, key, specification[key], problems)
        for key in specification
    }


def _value(path, found, key, specification, problems):
    # kind: a type, a tuple of the strings that fit, or a list of what its entries are
    kind, default = specification
    value = found.get(key)
    if value is None:
        if default is REQUIRED:
            problems.append("%s is missing: %s fits" % (path, _WORDS[kind]))
        return default
    if isinstance(kind, list):
        return _list(path, value, kind[0], problems)
    if isinstance(kind, tuple):
        if value not in kind and value != default:
            problems.append("%s: %r came, one of these fits: %s" % (path, value, ", ".join(kind)))
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        came = "something else" if key in _SECRETS else repr(value)
        problems.append("%s: %s came, %s fits" % (path, came, _WORDS[kind]))
    elif value == "" and default is REQUIRED:
        problems.append("%s is empty" % path)
    elif isinstance(value, int) and value < 0:
        problems.append("%s: %d came, an integer from 0 fits" % (path, value))
    return value


def _list(path, found, kind, problems):
    if not isinstance(found, list):
        problems.append("%s: a list fits, not %s" % (path, type(found).__name__))
        return []
    checked = []
    for number, one in enumerate(found):
        entry = "%s[%d]" % (path, number)
        if isinstance(kind, dict):
            checked.append(_section(entry, one, kind, problems))
        else:
            checked.append(_value(entry, {"": one}, "", kind, problems))
    return checked
