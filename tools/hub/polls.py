"""Waiting over REST: the requests that are held until something happens.

Parameters and answers are those of the server's DeviceCommandResource and
DeviceNotificationResource.
"""

import asyncio

from . import fields
from .refusal import Refusal

_WAIT_DEFAULT_S, _WAIT_MAX_S = 30, 60


class Polls:
    """Everyone who waits.

    Arguments:
        store: the Store whose changes are waited for. subscriptions: the Subscriptions on it.

    Attributes:
        waiting: (condition, future) of each one who waits right now.
    """

    def __init__(self, store, subscriptions):
        self._store = store
        self._subscriptions = subscriptions
        self.waiting = []
        store.listen(self._hear)

    async def records(self, principal, event, query):
        """The records from a timestamp on; if there are none, the first one to come.

        Arguments:
            principal: who asks. event: what is waited for.
            query: deviceId, networkIds, deviceTypeIds, names (comma-separated), timestamp
                (by default the time now), waitTimeout and limit.

        Returns:
            A list, empty when the time was up or the hub stops.
        """
        timeout_s = wait_s(query)
        lists = {key: _split(query, key) for key in ("networkIds", "deviceTypeIds", "names")}
        asked = {"timestamp": self._store.now_ms(), **query, **lists}
        wish = self._subscriptions.make(principal, event, asked)
        if wish is None:
            return []
        found = self._subscriptions.missed(wish)
        if not found:
            record = await self._first(wish.matches, timeout_s)
            found = [] if record is None else [record]
        return found

    async def update(self, command, timeout_s):
        """Whether a Command was updated, ever or before the time is up."""
        if not command.updated:
            await self._first(
                lambda event, record: event == "command/update" and record is command, timeout_s
            )
        return command.updated

    def release(self):
        """Have nobody wait any longer."""
        for _condition, future in self.waiting:
            _wake(future, None)

    async def _first(self, condition, timeout_s):
        """The record of the first change that meets the condition, or None."""
        future = asyncio.get_running_loop().create_future()
        place = condition, future
        self.waiting.append(place)
        try:
            return await asyncio.wait_for(future, timeout_s)
        except asyncio.TimeoutError:
            return None
        finally:
            self.waiting.remove(place)

    def _hear(self, event, record):
        for condition, future in self.waiting:
            if condition(event, record):
                _wake(future, record)


def wait_s(query):
    """The seconds that a request is ready to wait, from its `waitTimeout`; else Refusal 400."""
    timeout_s = fields.number(query.get("waitTimeout"), _WAIT_DEFAULT_S)
    if timeout_s < 0:
        raise Refusal(400, "Timeout can't be less than 0 seconds.")
    if timeout_s > _WAIT_MAX_S:
        raise Refusal(400, f"Timeout can't be more than {_WAIT_MAX_S} seconds.")
    return timeout_s


def _split(query, key):
    value = query.get(key)
    return None if value is None else [part for part in value.split(",") if part]


def _wake(future, record):
    if not future.done():
        future.set_result(record)
