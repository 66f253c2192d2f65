"""Where boards are: from the words of --port to connect strings of mpremote."""

from typing import NamedTuple

from tools.report import Problem


class Port(NamedTuple):
    """A USB serial port: its device file, and its serial number or ""."""

    device: str
    serial: str


def attached() -> list[Port]:
    """The USB serial ports of this machine; what is built in holds no board."""
    from serial.tools import list_ports  # needs the environment

    ports = [port for port in list_ports.comports() if port.vid is not None]
    return sorted(Port(port.device, port.serial_number or "") for port in ports)


def find(words: list[str]) -> list[str]:
    """Connect strings for the words of --port: `auto`, `all`, or whatever mpremote takes.

    Raises Problem when there is no board, and for `auto` when there are several.
    """
    if "all" in words:
        found = _connect_strings(attached())
        if not found:
            raise _nothing()
        return found
    strings = [_only() if word == "auto" else word for word in words]
    twice = {word for word in strings if strings.count(word) > 1}
    if twice:
        raise Problem(f"--port names {', '.join(sorted(twice))} more than once", 2)
    return strings


def _only() -> str:
    found = _connect_strings(attached())
    if not found:
        raise _nothing()
    if len(found) > 1:
        raise Problem(f"several boards are there: --port all, or one of {', '.join(found)}", 2)
    return found[0]


def _connect_strings(ports: list[Port]) -> list[str]:
    """By serial number where that tells boards apart: a device file may change over a reset."""
    serials = [port.serial for port in ports]
    return [
        f"id:{port.serial}" if port.serial and serials.count(port.serial) == 1 else port.device
        for port in ports
    ]


def _nothing() -> Problem:
    return Problem(
        "no board found: plug one in, with a cable that carries data, or name its port with --port"
    )


def device(connect: str) -> str:
    """What pyserial opens for a connect string of mpremote's; raises OSError while it is away."""
    kind, _, rest = connect.partition(":")
    if kind == "port":
        return rest
    if kind != "id":
        return connect
    for port in attached():
        if port.serial == rest:
            return port.device
    raise OSError(f"no board with the serial number {rest}")
