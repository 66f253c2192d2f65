"""Wi-Fi up."""

from errno import ETIMEDOUT

from micropython import const

from . import log

try:
    import network
except ImportError:
    network = None  # the unix port uses its host's network

_JOIN_MS = const(30000)
_LOOK_MS = const(200)


async def up(settings, clock):
    """Join the Wi-Fi network of the settings unless the board is on it already.

    Without `network.ssid` the network is the owner's affair, Ethernet for one. Raises
    OSError(ETIMEDOUT) when it was not joined within 30 s.
    """
    if network is None or not settings["ssid"]:
        return
    wlan = network.WLAN(network.STA_IF)
    if wlan.isconnected():
        return
    if settings["country"]:
        network.country(settings["country"])
    if settings["hostname"]:
        network.hostname(settings["hostname"])
    wlan.active(True)
    log.info("network: joining %s", settings["ssid"])
    wlan.connect(settings["ssid"], settings["password"])
    until = clock.ticks() + _JOIN_MS
    while not wlan.isconnected():
        if clock.ticks() >= until:
            status = wlan.status()
            # A join that is left pending makes the next one fail.
            wlan.disconnect()
            raise OSError(
                ETIMEDOUT,
                "Wi-Fi %s was not joined (status %s): check network.ssid and network.password"
                % (settings["ssid"], status),
            )
        await clock.sleep_ms(_LOOK_MS)
    log.info("network: %s", wlan.ifconfig()[0])
