"""The board's network: Wi-Fi up, up again when it is gone, and the time where TLS needs it."""

from errno import EACCES, ECONNABORTED, ECONNREFUSED, ECONNRESET, EIO, ENOTCONN, ETIMEDOUT

from micropython import const

from . import borrow, log

try:
    import network
except ImportError:
    network = None  # the unix port uses its host's network

_JOIN_MS = const(30000)
_LOOK_MS = const(200)
_WATCH_MS = const(2000)

# The driver tells late that it has left, and would take the next join down with the last one.
_LEAVE_MS = const(500)

# Dials in a row without an answer before the Wi-Fi is suspected. With their time-outs and pauses
# that is about a minute, in which most routers and brokers have started again; joining anew heals a
# lease or an association that only the board believes in, and cuts whatever else the owner has open.
_DIALS = const(5)

# Whoever says this was reached.
_ANSWERS = (EACCES, ECONNABORTED, ECONNREFUSED, ECONNRESET, EIO)


class Network:
    """The network of the settings; without any Wi-Fi in them it is the owner's affair.

    settings: the section `network`; clock: the agent's Clock
    """

    def __init__(self, settings, clock):
        self._settings = settings
        self._clock = clock
        self._unanswered = 0
        # Tried in turn, since a scan blocks for seconds; the one that was joined last comes first.
        self._wifis = ([settings] if settings["ssid"] else []) + settings["known"]
        self._wlan = None

    async def up(self):
        """Join a Wi-Fi network unless the board is on one, and dials from there are answered.

        Raises OSError(ETIMEDOUT) when none was joined, each within 30 s.
        """
        if not network or not self._wifis:
            return
        # Not before it is wanted: the driver takes memory, and may fail for want of it.
        self._wlan = wlan = self._wlan or network.WLAN(network.STA_IF)
        if wlan.isconnected() and self._unanswered < _DIALS:
            return
        self._unanswered = 0
        failures = []
        for wifi in self._wifis:
            reason = await self._join(wlan, wifi["ssid"], wifi["password"])
            if not reason:
                self._wifis.remove(wifi)
                self._wifis.insert(0, wifi)
                log.info("network: %s", wlan.ifconfig()[0])
                return
            failures.append("%s (%s)" % (wifi["ssid"], reason))
        raise OSError(ETIMEDOUT, "no Wi-Fi joined, check network: " + ", ".join(failures))

    async def watch(self):
        """Raise OSError(ENOTCONN) once the Wi-Fi is gone: the broker's silence tells much later."""
        while self._wlan:
            await self._clock.sleep_ms(_WATCH_MS)
            if not self._wlan.isconnected():
                raise OSError(ENOTCONN, "the Wi-Fi is gone")

    def dialled(self, reached, error):
        """Note how a dial went: whether the broker was reached, and the error that came after."""
        answered = reached or error.errno in _ANSWERS
        self._unanswered = 0 if answered else self._unanswered + 1

    async def set_clock(self, endpoint, past_ms):
        """Set the board's clock if this endpoint needs the time; `past_ms` is certainly past.

        Raises OSError when the time can't be had.
        """
        if endpoint.get("tls") or endpoint.get("time"):
            await borrow("sntp").set_clock(self._clock, self._settings["ntp"], past_ms)

    async def _join(self, wlan, ssid, password):
        # Returns why not. A join that fails goes on in the driver, and may be done by the next try.
        log.info("network: joining %s", ssid)
        try:
            if wlan.active():
                # Whatever is pending, the driver's own try included, makes `connect` fail.
                wlan.disconnect()
                await self._clock.sleep_ms(_LEAVE_MS)
            self._switch_on(wlan)
            wlan.connect(ssid, password or None)
        except (OSError, ValueError, RuntimeError) as e:
            return repr(e)
        until = self._clock.ticks() + _JOIN_MS
        while not wlan.isconnected():
            # Below zero the RP2's driver has given up; the ESP32's never does.
            if self._clock.ticks() >= until or wlan.status() < 0:
                return _status(wlan.status())
            await self._clock.sleep_ms(_LOOK_MS)
        return None

    def _switch_on(self, wlan):
        settings = self._settings
        for name in ("country", "hostname"):
            if settings[name]:
                getattr(network, name)(settings[name])
        wlan.active(True)
        power = getattr(wlan, "PM_" + settings["power"].upper(), None)
        if power is not None:
            wlan.config(pm=power)


def _status(status):
    # Each port has numbers of its own, and names for them.
    for name in dir(network):
        if name.startswith("STAT_") and getattr(network, name) == status:
            return name[5:].replace("_", " ").lower()
    return "status %s" % status
