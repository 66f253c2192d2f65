"""The settings that go onto a board: from a file, the hub, the environment, a fleet's row, a person.

What comes later wins. The secrets among them travel in files that only their owner can read.
"""

import contextlib
import getpass
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.places import CACHE
from tools.report import Problem

HUB = CACHE / "hub.json"

_SECRETS = ("password", "refresh_token")

# variable: the setting
VARIABLES = {
    "HEED_DEVICE_ID": ("device", "id"),
    "HEED_DEVICE_NAME": ("device", "name"),
    "HEED_NETWORK_SSID": ("network", "ssid"),
    "HEED_NETWORK_PASSWORD": ("network", "password"),
    "HEED_DEVICEHIVE_HOST": ("devicehive", "host"),
    "HEED_DEVICEHIVE_PORT": ("devicehive", "port"),
    "HEED_DEVICEHIVE_LOGIN": ("devicehive", "login"),
    "HEED_DEVICEHIVE_PASSWORD": ("devicehive", "password"),
    "HEED_DEVICEHIVE_REFRESH_TOKEN": ("devicehive", "refresh_token"),
}


def from_file(path: str) -> dict:
    """Raises Problem for what is no file with a JSON object in it."""
    try:
        found = json.loads(Path(path).read_text())
    except OSError as error:
        raise Problem(f"--settings: {path}: {error.strerror}", 2) from None
    except ValueError as error:
        raise Problem(f"--settings: {path} is not JSON: {error}", 2) from None
    wrong = not isinstance(found, dict)
    wrong = wrong or any(not isinstance(found.get(key, {}), dict) for key, _ in VARIABLES.values())
    if wrong:
        raise Problem(f"--settings: {path} is no settings file; the README shows one", 2)
    return found


def from_hub() -> dict:
    """Where the hub that `hub --lan` started listens, and whom it lets in."""
    try:
        hub = json.loads(HUB.read_text())
        return {"devicehive": {key: hub[key] for key in ("host", "port", "login", "password")}}
    except (OSError, ValueError, KeyError):
        raise Problem(
            "--hub: no hub is there: start one with `python3 -m tools hub --lan`"
        ) from None


def from_environment(environ: Mapping[str, str]) -> dict:
    found: dict[str, dict] = {}
    for variable, (section, key) in VARIABLES.items():
        if variable in environ:
            value: str | int = environ[variable]
            if key == "port":
                value = _number(variable, environ[variable])
            found.setdefault(section, {})[key] = value
    return found


def _number(variable: str, text: str) -> int:
    if not text.isdecimal():
        raise Problem(f"{variable}: {text!r} came, a number fits", 2)
    return int(text)


def merged(*parts: dict) -> dict:
    """One dict of settings; later parts win, key by key."""
    result: dict = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = {**result[key], **value} if both else value
    return result


def missing(settings: dict, wifi: bool) -> list[tuple[str, str]]:
    """What nobody has told yet. wifi: whether a network is wanted where none is named."""
    device, network = settings.get("device", {}), settings.get("network", {})
    hive = settings.get("devicehive", {})
    asked = [] if device.get("id") else [("device", "id")]
    if wifi and not network.get("ssid") and not network.get("known"):
        asked.append(("network", "ssid"))
    if (network.get("ssid") or ("network", "ssid") in asked) and network.get("password") is None:
        asked.append(("network", "password"))
    if settings.get("cloud", "devicehive") == "devicehive":
        asked += [("devicehive", key) for key in _log_in(hive) if not hive.get(key)]
    return asked


def _log_in(hive: dict) -> tuple[str, ...]:
    return ("host",) if hive.get("refresh_token") else ("host", "login", "password")


def completed(settings: dict, wifi: bool, ask: bool) -> dict:
    """Asks the person at the terminal for what is missing; secrets are not echoed.

    Raises Problem when there is no terminal to ask at, and without `ask`.
    """
    asked = missing(settings, wifi)
    if asked and not (ask and sys.stdin.isatty()):
        names = [_variable(each) for each in asked]
        what = ", ".join(".".join(each) for each in asked)
        raise Problem(
            f"settings are missing: {what}. Give --settings FILE, set {', '.join(names)}, or run "
            "this in a terminal, which asks"
        )
    for section, key in asked:
        settings = merged(settings, {section: {key: _answer(section, key)}})
    return settings


def _variable(setting: tuple[str, str]) -> str:
    return next(name for name, each in VARIABLES.items() if each == setting)


def _answer(section: str, key: str) -> str:
    if key in _SECRETS:
        return getpass.getpass(f"{section}.{key} (not shown): ")
    print(f"{section}.{key}: ", end="", file=sys.stderr, flush=True)
    return input().strip()


def secrets(settings: object) -> list[str]:
    """All that must not be shown, the longest first."""
    found = set()
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key in _SECRETS and isinstance(value, str) and value:
                found.add(value)
            found.update(secrets(value))
    elif isinstance(settings, list):
        for value in settings:
            found.update(secrets(value))
    return sorted(found, key=len, reverse=True)


@contextlib.contextmanager
def kept(text: str, file: Path) -> Iterator[None]:
    """Has the text in a file that only this user can read, as long as the block runs."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        yield
    finally:
        file.unlink(missing_ok=True)
