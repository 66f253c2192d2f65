"""What kinds of boards a device can be; figures as emulated and stock firmware showed them."""

from typing import NamedTuple


class Hardware(NamedTuple):
    """What a kind of board is.

    platform, machine, mpy, board: of `sys`; epoch: the year that `time` counts from
    heap: bytes free at boot; flash: of the file system; watchdog_ms: the longest time-out
    usb: whether a hard reset breaks the connection; away_s: how long the port is gone then
    keeps_time: whether the clock runs on over machine.reset
    umqtt: whether umqtt.simple is in the firmware; noise: what a hard reset puts on the line
    power_up: Unix seconds that the clock shows then
    """

    platform: str
    machine: str
    board: str
    heap: int
    flash: int
    mpy: int
    epoch: int = 1970
    watchdog_ms: int = 8388
    freq: int = 125_000_000
    usb: bool = True
    away_s: float = 0
    keeps_time: bool = False
    umqtt: bool = False
    noise: bytes = b""
    power_up: int = 1609459200


PICO_W = Hardware("rp2", "Raspberry Pi Pico W with RP2040", "RPI_PICO_W", 187_664, 868_352, 0x1306)
PICO_2_W = Hardware(
    "rp2", "Raspberry Pi Pico 2 W with RP2350", "RPI_PICO2_W", 400_000, 2_621_440, 0x1F06
)
ESP32 = Hardware(
    "esp32",
    "Generic ESP32 module with ESP32",
    "ESP32_GENERIC",
    148_096,
    2_097_152,
    0x2B06,
    epoch=2000,
    watchdog_ms=0x7FFFFFFF,
    freq=160_000_000,
    usb=False,
    keeps_time=True,
    umqtt=True,
    noise=b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET)\xfe\x80\xff\r\n",
    power_up=946684800,
)
