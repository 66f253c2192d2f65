"""Log-ins that are refused and then granted: the pauses, in fake time."""

from errno import EACCES

from agent import log
from host_tests.rig import Rig, blinking

MINUTE_MS = 60000
TOKEN = {"host": "devicehive.test", "refresh_token": "refresh"}


async def comes_online_once_it_may(rig, grant):
    """Refused for a while, seldom tried; granted, the agent comes online by itself."""
    ran = blinking(rig)
    await rig.start()
    await rig.clock.advance(59000)
    assert len(rig.transport.endpoints) == 1
    await rig.clock.advance(10 * MINUTE_MS)
    # After 1, 2 and 4 minutes, and up to a tenth more; the next pause is of 8.
    assert len(rig.transport.endpoints) == 4
    assert len(rig.said(log.WARNING)) == len(rig.transport.endpoints)
    grant()
    await rig.clock.advance(7 * MINUTE_MS)
    assert rig.board.online
    rig.cloud.insert("blink", {"times": 1})
    await rig.clock.settle()
    assert len(ran) == 1


async def test_a_locked_account_with_a_password_comes_online_after_it_is_unlocked():
    async with Rig() as rig:
        rig.transport.refusals = [OSError(EACCES, "the broker refused the login")] * 1000
        await comes_online_once_it_may(rig, rig.transport.refusals.clear)


async def test_a_locked_account_with_a_token_comes_online_after_it_is_unlocked():
    async with Rig(devicehive=TOKEN) as rig:
        rig.cloud.refused["token/refresh"] = (401, "Invalid credentials")
        await comes_online_once_it_may(rig, rig.cloud.refused.clear)
