"""What is known of each board: the facts in `boards/NAME/board.json`; boards/README.md tells them."""

import json
import re
from pathlib import Path

from tools.places import ROOT
from tools.report import Problem

FOLDER = ROOT / "boards"
PORTS = ("esp32", "rp2")
EPOCHS = (1970, 2000)
POWER = (None, "performance", "powersave", "none")  # the words of the setting network.power

_LED = 'null or {"pin": 2, "active": 1}, the pin as machine.Pin takes it, active 0 or 1'


def names(folder: Path = FOLDER) -> list[str]:
    """The boards there are, in MicroPython's own names."""
    return sorted(file.parent.name for file in folder.glob("*/board.json"))


def load(name: str, folder: Path = FOLDER) -> dict:
    """The facts of one board.

    Raises Problem, in one sentence, for a board that is not there or a fact that is wrong.
    """
    file = folder / name / "board.json"
    if name not in names(folder):
        known = ", ".join(names(folder))
        raise Problem(
            f"There is no board {name!r}; there are: {known}. boards/README.md adds one."
        )
    try:
        facts = json.loads(file.read_text())
    except ValueError as error:
        raise Problem(f"boards/{name}/board.json is not JSON: {error}") from None
    complaints = _wrong(facts)
    if complaints:
        raise Problem(f"boards/{name}/board.json: {complaints[0]}")
    return facts


def guess(machine: str, folder: Path = FOLDER) -> str | None:
    """The board that calls itself so, or None.

    machine: `sys.implementation._machine`, as in "Raspberry Pi Pico W with RP2040". Only the
    firmware's name tells: the chip alone says nothing of LED and flash. A variant of a firmware
    ("Generic ESP32 module with SPIRAM with ESP32") is the same board.
    """
    for name in names(folder):
        if machine.startswith(load(name, folder)["machine"] + " with "):
            return name
    return None


def complaints(folder: Path = FOLDER) -> list[str]:
    """Sentences on what is wrong in boards/: facts, and files that a board's folder lacks."""
    found = []
    for board in sorted(each for each in folder.iterdir() if each.is_dir()):
        for file in ("board.json", "manifest.py", "README.md"):
            if not (board / file).is_file():
                found.append(f"boards/{board.name}: {file} is missing")
        if (board / "board.json").is_file():
            found += _complaints_of(board)
    return found + _twins(folder)


def _complaints_of(board: Path) -> list[str]:
    where = f"boards/{board.name}/board.json"
    try:
        facts = json.loads((board / "board.json").read_text())
    except ValueError as error:
        return [f"{where} is not JSON: {error}"]
    return [f"{where}: {each}" for each in _wrong(facts)]


def _twins(folder: Path) -> list[str]:
    """Two boards of one name could not be told apart."""
    owners: dict[str, str] = {}
    found = []
    for name in names(folder):
        try:
            machine = load(name, folder)["machine"]
        except Problem:  # told already
            continue
        if machine in owners:
            found.append(f"boards/{name}/board.json: machine is {owners[machine]}'s, too")
        owners.setdefault(machine, name)
    return found


def _wrong(facts: object) -> list[str]:
    if not isinstance(facts, dict):
        return ["an object of facts fits"]
    found = [f"{key} is missing: {fits}" for key, (_, fits) in FACTS.items() if key not in facts]
    for key, value in facts.items():
        if key not in FACTS:
            found.append(f"{key} is no fact; there are: {', '.join(FACTS)}")
        elif not FACTS[key][0](value):
            found.append(f"{key}: {json.dumps(value)} came, {FACTS[key][1]} fits")
    return found


def _words(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _led(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {"pin", "active"}:
        return False
    pin = value["pin"]
    fits = re.fullmatch(r"\w+", pin) if isinstance(pin, str) else type(pin) is int and pin >= 0
    return bool(fits) and type(value["active"]) is int and value["active"] in (0, 1)


# fact: (does a value fit, what fits)
FACTS = {
    "mcu": (_words, "the chip, in lower case"),
    "port": (lambda value: value in PORTS, " or ".join(PORTS)),
    "machine": (_words, "how the firmware calls the board, up to its last ` with `"),
    "firmware": (_words, "a sentence on where the firmware is and how it gets onto the board"),
    "led": (_led, _LED),
    "watchdog_ms": (_size, "the longest time-out of machine.WDT, in ms"),
    "umqtt_frozen": (lambda value: isinstance(value, bool), "true or false"),
    "heap": (lambda value: value is None or _size(value), "bytes free after boot, or null"),
    "pm": (lambda value: value in POWER, "performance, powersave, none, or null"),
    "epoch": (lambda value: type(value) is int and value in EPOCHS, "1970 or 2000"),
    "flash": (_size, "bytes of the file system"),
}
