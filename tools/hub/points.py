"""The points at which the hub's parts ask what goes wrong, and the traps that answer them.

A trap is one misbehaviour of the real broker or server. It answers the points that concern it;
with no trap on, every point answers None and the hub behaves as DeviceHive does when all is well.
"""

from collections import Counter


class Trap:
    """One misbehaviour. A method here is a point: what is asked, and what an answer means.

    Arguments:
        number: of NAME=NUMBER; what it means is the trap's own.

    Attributes:
        number: as given. store: the Store. broker: the Broker. dead: the Dead that all share.
    """

    number = None

    def __init__(self, number=None):
        if number is not None:
            self.number = number
        self.store = self.broker = self.dead = None

    def begin(self):
        """The hub has been built, and the trap is on."""

    def end(self):
        """The trap is no longer on."""

    def restarted(self):
        """The broker has come back from a crash and remembers nothing."""

    # A connection's life

    def in_use(self):
        """A CONNECT has the client id of somebody who is there; True answers as v1 did, 4."""

    def locks(self, client_id):
        """A CONNECT with that client id; True refuses it, 5."""

    def wrong_password(self):
        """A CONNECT had a wrong password."""

    def connected(self, connection):
        """A CONNECT was good; True tells the client that its session was present."""

    def left(self, connection):
        """A connection is over."""

    # Subscriptions

    def covers(self, connection, topic_filter):
        """A SUBSCRIBE to a filter that is not held; True grants it and leaves it dead."""

    def granted(self, topic_filter, subscription):
        """DeviceHive has accepted a subscription."""

    def refused(self, connection, topic_filter):
        """DeviceHive has refused a subscription."""

    def unsubscribed(self, connection, topic_filter):
        """An UNSUBSCRIBE."""

    def holds(self, connection, filters):
        """A SUBSCRIBE; a number holds its handling and its SUBACK back for so many seconds."""

    # Requests

    def takes(self, connection, frame):
        """A request has come; True keeps it from being carried out."""

    def performs(self, action, request):
        """An action is about to be done, whoever asks; may raise a Refusal."""

    def answers(self, connection, topic, payload):
        """An answer is about to be sent; True keeps it."""

    def lists(self, commands, request):
        """The commands that may be listed, before they are cut and sorted; gives others."""

    # Messages

    def echoes(self, topic):
        """A message on a topic of DeviceHive's own events; True spreads it to MQTT clients."""

    def carries(self, copies):
        """The subscriptions that a push has come for: (Connection, filter, Subscription); gives
        those of them that make the broker publish it."""

    def repeats(self):
        """How often a push is sent."""

    def overhears(self):
        """Whether a push goes to everyone with a filter that matches its topic."""


class Traps:
    """The traps that are on, by name."""

    def __init__(self, traps=()):
        self._on = dict(traps)
        self.dead = Dead()

    def __getitem__(self, name):
        return self._on[name]

    def __iter__(self):
        return iter(self._on)

    def lift(self, name):
        """End a misbehaviour; what it has broken so far stays broken."""
        self._on.pop(name).end()

    def begin(self, store, broker):
        """Let the traps know the parts of the hub."""
        for trap in self._on.values():
            trap.store, trap.broker, trap.dead = store, broker, self.dead
            trap.begin()

    def ask(self, point, *args):
        """Ask every trap that is on; the first answer that is neither None nor False."""
        found = None
        for trap in list(self._on.values()):
            answer = getattr(trap, point)(*args)
            found = found or answer
        return found

    def sift(self, point, things, *args):
        """Pass a list through every trap that is on."""
        for trap in self._on.values():
            changed = getattr(trap, point)(things, *args)
            things = things if changed is None else changed
        return things

    def restarted(self):
        """The broker has come back from a crash."""
        self.dead = Dead()
        for trap in self._on.values():
            trap.dead = self.dead
            trap.restarted()

    def pushes(self, copies):
        """How often the broker publishes a push that has come for these subscriptions."""
        copies = self.sift("carries", copies)
        if not self.dead.passes([topic_filter for _client, topic_filter, _sub in copies]):
            return 0
        return self.ask("repeats") or 1


class Dead:
    """Subscribers whose link to the server is gone, counted by the filter's exact text.

    The broker publishes one in so many of the copies of a push that the server sends it: as many
    as it believes to have subscribers of that text. One that is dead gets no copy but counts.
    """

    def __init__(self):
        self._counts = Counter()
        self._turns = Counter()

    def add(self, topic_filter, number=1):
        """Count a number of dead subscribers."""
        self._counts[topic_filter] += number

    def passes(self, filters):
        """Whether a push that has come once for each of these filters is published."""
        # Every text is counted on, also when an earlier one has let the push through.
        passed = [self._passes(*text) for text in Counter(filters).items()]
        return any(passed)

    def _passes(self, topic_filter, copies):
        if topic_filter not in self._counts:
            return True
        turn = self._turns[topic_filter]
        self._turns[topic_filter] += copies
        every = self._counts[topic_filter] + copies
        return any(number % every == 0 for number in range(turn, turn + copies))
