"""The board's clock, set by SNTP: TLS can't tell without the date whether a certificate is valid.

Boards have `ntptime` frozen in, but that blocks the loop for the length of its time-out, takes any
datagram for an answer, and knows one host. Packet format and checks: RFC 4330, sections 4 and 5.
"""

import os
import socket
from errno import EAGAIN, EINVAL, EIO, ETIMEDOUT

from micropython import const

from . import log
from .clock import RELEASED_MS, civil_from_days, format_iso8601
from .session import describe

_ANSWER_MS = const(2000)
_LOOK_MS = const(50)

# Era 0 begins in 1900, and era 1 in 2036.
_ERA_S = const(0x100000000)
_TO_UNIX_S = const(2208988800)


async def set_clock(clock, hosts, past_ms):
    """Set the board's clock by the first host that answers, else to a time that is certainly past.

    clock: the agent's Clock; hosts: names, with `:port` where that is not 123; past_ms: Unix
    milliseconds. A clock set to the past is marked as `guessed`. Raises OSError(ETIMEDOUT) when
    hosts were asked and there is no time that could be right.
    """
    if clock.known:
        # By a guess the cloud was reached, which has told the time since.
        _set(clock, clock.now_ms() // 1000)
        return
    failures = []
    for host in hosts:
        try:
            _set(clock, await _ask(clock, host))
            log.info("sntp: %s from %s", format_iso8601(clock.now_ms()), host)
            return
        except OSError as e:
            failures.append("%s: %s" % (host, describe(e)))
    if past_ms > clock.now_ms():
        _set(clock, past_ms // 1000, True)
    text = "no time from network.ntp (%s)" % ", ".join(failures)
    if failures and clock.now_ms() < RELEASED_MS:
        raise OSError(ETIMEDOUT, text + ", which TLS needs: let UDP port 123 through")
    # With no hosts at all the owner answers for certificates that are valid from early on.
    log.warning("sntp: %s: %s will do", text, format_iso8601(clock.now_ms()))


async def _ask(clock, host):
    # Returns Unix seconds.
    name, _, port = host.partition(":")
    if port and not port.isdigit():
        raise OSError(EINVAL, "name or name:port fits")
    address = socket.getaddrinfo(name, int(port or 123))[0]
    nonce = os.urandom(8)
    sock = socket.socket(address[0], socket.SOCK_DGRAM)
    try:
        # Connected, it takes nothing from anybody else, and may hear that nobody listens there.
        sock.connect(address[-1])
        sock.setblocking(False)
        # Version 4, mode 3 (client). What stands for our time comes back with the answer.
        sock.send(b"\x23" + bytes(39) + nonce)
        until = clock.ticks() + _ANSWER_MS
        while clock.ticks() < until:
            await clock.sleep_ms(_LOOK_MS)
            try:
                answer = sock.recv(48)
            except OSError as e:
                if e.errno != EAGAIN:
                    raise
                continue
            # Anything else is no answer to this question, and may be a stranger's.
            if len(answer) == 48 and answer[0] & 7 == 4 and answer[24:32] == nonce:
                return _seconds(answer)
    finally:
        sock.close()
    raise OSError(ETIMEDOUT, "it is silent")


def _seconds(answer):
    seconds = int.from_bytes(answer[40:44], "big")
    told = 0 < answer[1] < 16 and answer[0] < 0xC0 and seconds
    if seconds < _ERA_S // 2:
        seconds += _ERA_S
    seconds -= _TO_UNIX_S
    # Not synchronised, or a kiss-o'-death (stratum 0), which is to be obeyed: it is not asked again.
    if not told or seconds * 1000 < RELEASED_MS:
        raise OSError(EIO, "it gives no time (stratum %d)" % answer[1])
    return seconds


def _set(clock, seconds, guessed=False):
    import machine  # a host has no RTC

    days, rest = divmod(seconds, 86400)
    # Boards work the weekday out themselves.
    date = civil_from_days(days) + (0, rest // 3600, rest // 60 % 60, rest % 60, 0)
    machine.RTC().datetime(date)
    clock.guessed = guessed
