"""The `network` module of a board that is in reach of any access point, and joins at once."""

STA_IF = 0
AP_IF = 1

_STATUS = {"rp2": (0, 3), "esp32": (1000, 1010)}
_numbers = _STATUS["rp2"]
_country = "XX"
_hostname = "board"
STAT_IDLE, STAT_GOT_IP = _numbers


def set_up(platform):
    """Take a port's numbers."""
    global _numbers, STAT_IDLE, STAT_GOT_IP
    _numbers = STAT_IDLE, STAT_GOT_IP = _STATUS[platform]


def country(code=None):
    global _country
    if code is None:
        return _country
    if len(code) != 2:
        raise ValueError
    _country = code
    return None


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    if len(name) > 32:
        raise ValueError
    _hostname = name
    return None


class WLAN:
    """The one radio: however many of these are made, they are the same."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = 16, 10555714, 17

    _state = {"active": False, "ssid": ""}

    def __init__(self, interface_id=STA_IF):
        pass

    def active(self, is_active=None):
        if is_active is None:
            return self._state["active"]
        self._state["active"] = bool(is_active)
        return None

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self.active():
            raise OSError("Wifi Not Started")
        self._state["ssid"] = ssid

    def disconnect(self):
        self._state["ssid"] = ""

    def isconnected(self):
        return bool(self._state["ssid"])

    def status(self, what=None):
        if what == "rssi":
            return -50
        return _numbers[self.isconnected()]

    def config(self, *names, **values):
        return {"mac": b"\x28\xcd\xc1\x00\x00\x01", "ssid": self._state["ssid"]}.get(
            names[0] if names else None
        )

    def ifconfig(self):
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def scan(self):
        return []
