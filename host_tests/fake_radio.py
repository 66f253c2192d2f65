"""The `network` module of a board, with access points that a test switches on and off.

Names, numbers and signatures as the firmwares have them (docs.micropython.org, "network.WLAN", and
the boards' stubs); what each driver does of itself: an ESP32 tries again for ever, an RP2 gives up.
"""

_RP2 = {
    "STAT_IDLE": 0,
    "STAT_CONNECTING": 1,
    "STAT_GOT_IP": 3,
    "STAT_CONNECT_FAIL": -1,
    "STAT_NO_AP_FOUND": -2,
    "STAT_WRONG_PASSWORD": -3,
}
_ESP32 = {
    "STAT_IDLE": 1000,
    "STAT_CONNECTING": 1001,
    "STAT_GOT_IP": 1010,
    "STAT_BEACON_TIMEOUT": 200,
    "STAT_NO_AP_FOUND": 201,
    "STAT_WRONG_PASSWORD": 202,
    "STAT_CONNECT_FAIL": 203,
    "STAT_HANDSHAKE_TIMEOUT": 204,
}
_POWER = {
    "rp2": {"PM_NONE": 16, "PM_PERFORMANCE": 10555714, "PM_POWERSAVE": 17},
    "esp32": {"PM_NONE": 0, "PM_PERFORMANCE": 1, "PM_POWERSAVE": 2},
}

# How long a join takes, and how long after a `disconnect` the driver still thinks of it.
_JOIN_MS = 1500
_LEAVE_MS = 300


class FakeRadio:
    """One board's `network` module and its only WLAN interface.

    points: {ssid: password} of the access points in reach; port: "esp32" or "rp2"
    modes: whether this firmware has the PM_ constants
    """

    STA_IF = 0

    def __init__(self, clock, points, port="esp32", modes=True):
        self._clock = clock
        self._port = port
        self._wanted = None  # what the driver is after: (ssid, key)
        self._since = 0
        self._left = -_LEAVE_MS
        self._on = False
        self.points = points
        self.calls = []
        for name, number in (_RP2 if port == "rp2" else _ESP32).items():
            setattr(self, name, number)
        for name, number in _POWER[port].items() if modes else ():
            setattr(self, name, number)

    def WLAN(self, interface_id=STA_IF, /):
        assert interface_id == self.STA_IF
        return self

    def country(self, code, /):
        if len(code) != 2:
            raise ValueError
        self.calls.append(("country", code))

    def hostname(self, name, /):
        if len(name) > 32:
            raise ValueError
        self.calls.append(("hostname", name))

    def active(self, is_active=None, /):
        if is_active is None:
            return self._on
        self._on = bool(is_active)
        self.calls.append(("active", is_active))
        return None

    def config(self, *, pm):
        assert self._on
        self.calls.append(("pm", pm))

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self._on:
            raise OSError("Wifi Not Started")
        if self._wanted:
            raise OSError("Wifi Internal State Error")
        self.calls.append(("connect", ssid, key))
        # The news of the last leave arrives after this join began, and ends it.
        late = self._clock.ticks() < self._left + _LEAVE_MS
        self._wanted = None if late else (ssid, key)
        self._since = self._clock.ticks()

    def disconnect(self):
        self.calls.append(("disconnect",))
        if self._wanted:
            self._left = self._clock.ticks()
        self._wanted = None

    def isconnected(self):
        return self.status() == getattr(self, "STAT_GOT_IP")

    def status(self):
        name = self._state()
        if name in ("NO_AP_FOUND", "WRONG_PASSWORD") and self._port == "rp2":
            self._wanted = self._wanted and (self._wanted[0], None, name)
        return getattr(self, "STAT_" + name)

    def ifconfig(self):
        return ("192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.1")

    def _state(self):
        if not self._wanted:
            return "IDLE"
        if len(self._wanted) == 3:
            return self._wanted[2]
        if self._clock.ticks() < self._since + _JOIN_MS:
            return "CONNECTING"
        ssid, key = self._wanted
        if ssid not in self.points:
            return "NO_AP_FOUND"
        return "GOT_IP" if self.points[ssid] == key else "WRONG_PASSWORD"
