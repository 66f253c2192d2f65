"""The misbehaviours of `hub --trap NAME`, each as it was measured on a real DeviceHive.

TRAPS.md beside this file tells where each comes from, and what the hub does without any trap.
"""

import asyncio
import re
from collections import Counter
from weakref import WeakKeyDictionary, WeakSet

from . import fields, topics
from .points import Trap, Traps
from .refusal import Refusal

_HANDSHAKE_S = 0.1
_FOR_EVER_S = 30 * 24 * 3600
_WORD = re.compile(r"([a-z-]+)(?:=(\d{1,6}(?:\.\d{1,6})?))?")


def switched_on(words):
    """The Traps that some words name.

    Arguments:
        words: each NAME or NAME=NUMBER, the number over the trap's usual one.

    Raises:
        ValueError: a word is none; the text is one line that lists the names.
    """
    return Traps(map(_trap, words))


def _trap(word):
    match = _WORD.fullmatch(word)
    kind = match and KINDS.get(match[1])
    if kind is None:
        raise ValueError(f"no trap {word!r}; there are: {', '.join(KINDS)}")
    if match[2] is None:
        return match[1], kind()
    if kind.number is None:
        raise ValueError(f"the trap {match[1]} takes no number")
    # A count stays whole.
    return match[1], kind(type(kind.number)(float(match[2])))


def described():
    """One line a trap: its name, with its usual number where it takes one, and what it does."""
    return [_described(name, kind) for name, kind in KINDS.items()]


def _described(name, kind):
    shown = name if kind.number is None else f"{name}={kind.number:g}"
    return f"  {shown:<18} {(kind.__doc__ or name).splitlines()[0]}"


class Stale(Trap):
    """a refused SUBSCRIBE or a persistent session leaves its command filters granted but dead"""

    # The broker keeps what it has once tried to subscribe, by client id, until UNSUBSCRIBE. The
    # server's 404 to that one is why the subscriber of a lost session counts as dead for ever.

    def __init__(self, number=None):
        super().__init__(number)
        self.restarted()

    def restarted(self):
        self._marks, self._sessions = {}, {}

    def connected(self, connection):
        kept = self._sessions.pop(connection.client_id, None)
        if connection.clean or kept is None:
            return False
        connection.session.subscriptions.update(dict.fromkeys(kept))
        return True

    def left(self, connection):
        if connection.clean:
            return
        for topic_filter in _live(connection):
            self._mark(connection, topic_filter)
            self.dead.add(topic_filter)
        self._sessions[connection.client_id] = list(connection.session.subscriptions)

    def covers(self, connection, topic_filter):
        # A wider filter of the same client covers it as well, and leaves it dead when it goes.
        return topic_filter in self._marks.get(connection.client_id, ()) or any(
            topics.covers(wider, topic_filter) for wider in _live(connection)
        )

    def refused(self, connection, topic_filter):
        # What an anonymous client asks for is refused before anything is tried.
        if connection.session.principal is not None:
            self._mark(connection, topic_filter)

    def unsubscribed(self, connection, topic_filter):
        self._marks.get(connection.client_id, set()).discard(topic_filter)

    def _mark(self, connection, topic_filter):
        self._marks.setdefault(connection.client_id, set()).add(topic_filter)


class Zombie(Trap):
    """NUMBER dead subscribers on a command filter's text: one push in NUMBER+1 gets through"""

    number = 1

    def __init__(self, number=None):
        super().__init__(number)
        self.restarted()

    def restarted(self):
        self._known = set()

    def granted(self, topic_filter, subscription):
        # Only the first way to spell a filter: another one of the same meaning is sound.
        meaning = subscription.event, subscription.device, str(subscription.names)
        if meaning not in self._known:
            self._known.add(meaning)
            self.dead.add(topic_filter, self.number)


class _Striking(Trap):
    # Strikes each connection once, NUMBER seconds after its CONNECT, or when it is told to.

    def connected(self, connection):
        asyncio.get_running_loop().call_later(self.number, self._due, connection)

    def _due(self, connection):
        if self.broker.clients.get(connection.client_id) is connection:
            self.hit(connection)

    def strike(self, client_id):
        """Strike a connected client now, for a test."""
        self.hit(self.broker.clients[client_id])

    def hit(self, connection):
        """Break a connection."""
        raise NotImplementedError


class Vanished(_Striking):
    """NUMBER s after CONNECT the server is gone unseen: pings answered, no answers, no pushes"""

    number = 30.0

    def __init__(self, number=None):
        super().__init__(number)
        self.restarted()

    def restarted(self):
        # The connections that have lost their server, and whether they were subscribed to it.
        self._gone = WeakKeyDictionary()
        self._locked = set()

    def hit(self, connection):
        filters = _silence(connection)
        self._gone[connection] = bool(filters) or self._gone.get(connection, False)
        for topic_filter in filters:
            self.dead.add(topic_filter)

    def takes(self, connection, _frame):
        return connection in self._gone

    def holds(self, connection, filters):
        if connection in self._gone and any(map(topics.meaning, filters)):
            return _FOR_EVER_S
        return None

    def left(self, connection):
        # The broker waits for the answer to an unsubscribe before it lets go of the client id.
        if self._gone.get(connection):
            self._locked.add(connection.client_id)

    def locks(self, client_id):
        return client_id in self._locked


class LoggedOut(_Striking):
    """NUMBER s after CONNECT the server forgets who it was: 401, no pushes, until it logs in"""

    number = 30.0

    def hit(self, connection):
        connection.session.principal = None
        _silence(connection)


class Starved(Trap):
    """a later subscriber of one command name takes a wildcard's other names away"""

    # Of the subscriptions that overlap, the broker lets only one publish.

    def carries(self, copies):
        others = [
            (client, subscription)
            for client in self.broker.clients.values()
            for subscription in _live(client).values()
            if subscription.names is not None
        ]
        return [
            (client, topic_filter, subscription)
            for client, topic_filter, subscription in copies
            if not any(client is not other and _starves(it, subscription) for other, it in others)
        ]


def _starves(narrow, wide):
    return (
        narrow.event == wide.event
        and wide.names is None
        and narrow.id > wide.id
        and (None in (narrow.device, wide.device) or narrow.device == wide.device)
    )


class Crash(Trap):
    """a wrong password or an anonymous client's hasty request kills the broker for NUMBER s"""

    number = 1.0

    def __init__(self, number=None):
        super().__init__(number)
        self.restarted()

    def restarted(self):
        # Connections whose link to the server is up, and those for which it is on its way.
        self._linked, self._linking = WeakSet(), WeakSet()

    def wrong_password(self):
        self.broker.crash(self.number)

    def connected(self, connection):
        if connection.session.principal is not None:
            self._linked.add(connection)

    def takes(self, connection, frame):
        if connection in self._linked:
            return False
        if connection in self._linking:
            self.broker.crash(self.number)
        else:
            self._linking.add(connection)
            asyncio.get_running_loop().call_later(_HANDSHAKE_S, self._link, connection, frame)
        return True

    def _link(self, connection, frame):
        self._linked.add(connection)
        connection.perform(frame)


class Spoof(Trap):
    """anyone may publish to dh/command and the like, and # overhears every push, without log-in"""

    def echoes(self, topic):
        return topics.meaning(topic) is not None

    def overhears(self):
        return True


class Scan(Trap):
    """command/list has no order, so that take cuts out an arbitrary part"""

    def lists(self, commands, _request):
        # Ids are random; as in the server's own memory, the order is the same each time.
        return sorted(commands, key=lambda command: command.id)


class Exclusive(Trap):
    """start and end of command/list leave out the very times they name, as server 3.5 did"""

    def lists(self, commands, request):
        edges = {fields.time_ms(request.get(key)) for key in ("start", "end")}
        return [command for command in commands if command.timestamp not in edges]


class LateStore(Trap):
    """a command is pushed NUMBER s before list, get and update can find it"""

    number = 0.3

    def begin(self):
        self.store.late_ms = int(self.number * 1000)

    def end(self):
        self.store.late_ms = 0


class MuteSuback(Trap):
    """the SUBACK for a command filter is held back NUMBER s, and the subscription with it"""

    number = 3600.0

    def holds(self, _connection, filters):
        return self.number if any(map(topics.meaning, filters)) else None


class Double(Trap):
    """each push is sent NUMBER times"""

    number = 2

    def repeats(self):
        return self.number


class OutOfOrder(Trap):
    """answers wait NUMBER s for others and are sent last one first"""

    number = 0.05

    def __init__(self, number=None):
        super().__init__(number)
        self._waiting = WeakKeyDictionary()

    def answers(self, connection, topic, payload):
        waiting = self._waiting.setdefault(connection, [])
        waiting.append((topic, payload))
        if len(waiting) == 1:
            asyncio.get_running_loop().call_later(self.number, self._release, connection)
        return True

    def _release(self, connection):
        for answer in reversed(self._waiting.pop(connection)):
            connection.send_message(*answer)


class Unavailable(Trap):
    """a command/update or token/refresh is answered 503, then 500, NUMBER times in all"""

    number = 2

    def __init__(self, number=None):
        super().__init__(number)
        self._asked = Counter()

    def performs(self, action, request):
        if action not in ("command/update", "token/refresh"):
            return
        key = action, str(request.get("deviceId")), str(request.get("commandId"))
        self._asked[key] += 1
        if self._asked[key] <= self.number:
            code, text = _TROUBLES[self._asked[key] % 2]
            raise Refusal(code, text)


# Which comes first is told by the remainder of its number.
_TROUBLES = {1: (503, "Service is not available"), 0: (500, "java.lang.NullPointerException")}


class Old(Trap):
    """a client id that is in use is answered CONNACK 4, as a wrong password is, as v1 did"""

    def in_use(self):
        return True


KINDS = {
    "stale": Stale,
    "zombie": Zombie,
    "vanished": Vanished,
    "logged-out": LoggedOut,
    "starved": Starved,
    "crash": Crash,
    "spoof": Spoof,
    "scan": Scan,
    "exclusive": Exclusive,
    "late-store": LateStore,
    "mute-suback": MuteSuback,
    "double": Double,
    "out-of-order": OutOfOrder,
    "unavailable": Unavailable,
    "old": Old,
}


def _live(connection):
    subscriptions = connection.session.subscriptions
    return {kept: subscription for kept, subscription in subscriptions.items() if subscription}


def _silence(connection):
    # Takes the life out of a connection's subscriptions; gives their filters.
    filters = list(_live(connection))
    connection.session.forget(lambda _subscription: True)
    return filters
