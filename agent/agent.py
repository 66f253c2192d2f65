"""The agent: puts the parts together and keeps them alive."""

import asyncio
import gc

from micropython import const

from . import log, network, settings
from .clock import Clock
from .command import Command
from .intake import Intake
from .outbox import Outbox
from .registry import Registry
from .runner import Runner
from .session import Backoff, Session, describe

# How often `run(until="idle")` looks whether it is.
_LOOK_MS = const(50)

_EVENTS = ("online", "offline", "outcome")


class Agent:
    """A board's command agent.

    source: the path of the settings file, or the settings as a dict
    clock, transport: for tests; the board's own otherwise
    """

    def __init__(self, source="settings.json", clock=None, transport=None):
        self._source = source
        self._transport = transport
        self._registry = Registry()
        self._callbacks = {}
        self._submitted = 0
        self.clock = clock or Clock()
        self.online = False

    def command(self, name, **options):
        """Register the decorated function, plain or `async`, as the handler of a command.

        params: {name: specification}, checked before the handler runs; timeout: seconds;
        when_busy: "queue" (default), "replace" or "reject" while another of that name runs.
        """

        def register(function):
            self._registry.add(name, function, **options)
            return function

        return register

    def on(self, event, callback):
        """Have `callback` called at an event: "online" and "offline" without arguments,
        "outcome" with the Outcome."""
        if event not in _EVENTS:
            raise ValueError("%r is no event; there is: %s" % (event, ", ".join(_EVENTS)))
        self._callbacks.setdefault(event, []).append(callback)

    async def submit(self, name, parameters=None, lifetime=None):
        """Run a command from the board itself and return its Outcome.

        It takes the same way as one from the cloud, and is not reported there. The agent must
        be running, but need not be online.
        """
        self._submitted += 1
        ended = [asyncio.Event(), None]
        command = Command("local-%d" % self._submitted, name, parameters, None, lifetime)
        command.reply = ended
        self._intake.admit(command)
        await ended[0].wait()
        return ended[1]

    def run(self, until=None):
        """Run the agent, for ever, or with until="idle" until it has caught up and answered.

        Settings that can't be used are told in the log; then it returns False. For boards whose
        program has nothing else to do; others await `start()` in a task of theirs.
        """
        if until not in (None, "idle"):
            raise ValueError('until is "idle" or absent, not %r' % (until,))
        try:
            asyncio.run(self._until_idle() if until else self.start())
        except settings.SettingsError as e:
            log.error("settings: %s", e)
            return False
        return True

    async def start(self):
        """Run the agent for ever, beside the owner's other tasks. Raises SettingsError."""
        self._build()
        await self._serve()

    async def _serve(self):
        tasks = [asyncio.create_task(self._runner.run()), asyncio.create_task(self._connect())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _until_idle(self):
        self._build()
        task = asyncio.create_task(self._serve())
        while not (self.online and self._runner.idle and self._outbox.empty):
            await self.clock.sleep_ms(_LOOK_MS)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass

    def _build(self):
        found = self._source if isinstance(self._source, dict) else settings.read(self._source)
        self._settings = checked = settings.check(found)
        limits = checked["limits"]
        self._cloud = settings.load_cloud(checked["cloud"]).Cloud(checked, self.clock)
        self._outbox = Outbox(self.clock, limits)
        self._runner = Runner(self.clock, limits, self._done)
        self._intake = Intake(self.clock, self._registry, self._runner, self._done, limits)
        # Deadlines move to the server's clock as soon as it is known.
        self.clock.changed = self._runner.wake
        if self._transport is None:
            from .mqtt import MQTTTransport  # a test brings its own and needs no socket

            self._transport = MQTTTransport(self.clock, limits["payload"])

    def _deliver(self, command):
        if self._settings["progress"]:
            command.reports_to(self._outbox.progress)
        self._intake.admit(command)

    def _done(self, outcome):
        self._call("outcome", outcome)
        ended = outcome.command.reply
        if ended is None:
            self._outbox.put(outcome)
        else:
            ended[1] = outcome
            ended[0].set()

    async def _connect(self):
        # One session after the other, for ever.
        backoff, number = Backoff(), 0
        while True:
            number += 1
            session = Session(number, self._transport, self._cloud, self.clock, self._deliver)
            try:
                await network.up(self._settings["network"], self.clock)
                await session.live(self._opened)
            except OSError as e:
                error = e
            if session.proven:
                backoff.succeeded()
            pause = backoff.next_ms(error)
            self._closed(error, pause)
            await self.clock.sleep_ms(pause)

    def _opened(self, session):
        self.online = True
        log.info("session %d: online as %s", session.number, self._settings["device"]["id"])
        session.spawn(self._outbox.drain(session, self._cloud))
        self._call("online")
        gc.collect()

    def _closed(self, error, pause):
        cloud = self._settings[self._settings["cloud"]]
        log.warning(
            "session: %s:%d: %s; next try in %d.%d s",
            cloud["host"],
            cloud["port"],
            describe(error),
            pause // 1000,
            pause % 1000 // 100,
        )
        if self.online:
            self.online = False
            self._call("offline")
        gc.collect()

    def _call(self, event, *values):
        for callback in self._callbacks.get(event, ()):
            try:
                callback(*values)
            except Exception as e:  # noqa: BLE001 - the owner's code must not take us down
                log.write_exception(e)
