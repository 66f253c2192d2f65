"""The agent: puts the parts together and keeps them alive."""

import asyncio
import gc
import time

from micropython import const

from . import borrow, log
from .clock import Clock
from .command import Command, Outcome, SettingsError, check_json, refuse
from .intake import Intake
from .journal import Journal
from .network import Network
from .outbox import Outbox
from .registry import Registry
from .runner import Runner
from .session import Backoff, Session, describe
from .watchdog import Watchdog

# How often `run(until="idle")` looks whether it is.
_LOOK_MS = const(50)

# Before a part of the agent that failed is started again.
_PAUSE_MS = const(1000)

_EVENTS = const(("online", "offline", "outcome", "reset"))

# How often to look whether a deploy is over.
_HELD_MS = const(1000)

# What runs so long has started well, whatever was before.
_HEALTHY_MS = const(60000)

# Before a board whose program ended by an exception is reset, for a person who may be there.
_RESET_S = const(10)

# Starts of an idempotent handler for one command, resets included.
_ATTEMPTS = const(3)


class Agent:
    """A board's command agent.

    source: the path of the settings file, or the settings as a dict
    clock, transport: for tests; the board's own otherwise
    folder: where the agent keeps its journal, "" for the working directory
    """

    def __init__(self, source="settings.json", clock=None, transport=None, folder=""):
        self._source = source
        self._folder = folder + "/" if folder else ""
        self._transport = transport
        self._registry = Registry()
        self._callbacks = {}
        self._repeats = []
        self._submitted = 0
        self._crashes_path = self._crash = None
        self._crashes = 0
        self.clock = clock or Clock()
        self.online = False

    def command(self, name, **options):
        """Register the decorated function, plain or `async`, as the handler of a command.

        params: {name: specification}, checked before the handler runs; timeout: seconds;
        when_busy: "queue" (default), "replace" or "reject" while another of that name runs;
        idempotent: True where a reset in the middle may start it again, at most three times;
        after_reset: a function of the command that gives its result after the reset that it
        caused; allow: a function of the command that says whether its sender may run it.
        """

        def register(function):
            self._registry.add(name, function, **options)
            return function

        return register

    def on(self, event, callback):
        """Have `callback` called at an event: "online" and "offline" without arguments,
        "outcome" with the Outcome, "reset" with the reason before the agent resets the board."""
        if event not in _EVENTS:
            raise ValueError("%r is no event; there is: %s" % (event, ", ".join(_EVENTS)))
        self._callbacks.setdefault(event, []).append(callback)

    def notify(self, name, value=None):
        """Send telemetry; return whether it was taken. Offline it is not, and nothing is kept.

        Raises ValueError for what JSON cannot carry.
        """
        check_json(value)
        if not self.online or self._transport.backlog > self._settings["limits"]["payload"]:
            return False
        self._transport.publish(*self._cloud.notice(name, value))
        return True

    async def submit(self, name, parameters=None, lifetime=None):
        """Run a command from the board itself and return its Outcome.

        It takes the same way as one from the cloud, and is not reported there. The agent must
        be running, but need not be online.
        """
        self._submitted += 1
        ended = asyncio.Event()
        command = Command("local-%d" % self._submitted, name, parameters, None, lifetime)
        command.waiter = ended
        self._intake.admit(command)
        await ended.wait()
        return command.outcome

    def run(self, until=None):
        """Run the agent, for ever, or with until="idle" until it has caught up and answered.

        Settings that can't be used are told in the log; then it returns False, as while a deploy is
        under way. What else ends it resets the board. For boards whose program has nothing else to
        do; others await `start()` in a task of theirs.
        """
        if until not in (None, "idle"):
            raise ValueError('until is "idle" or absent, not %r' % (until,))
        if borrow("boot").held(self._folder):
            return False
        try:
            asyncio.run(self._until_idle() if until else self.start())
        except SettingsError as e:
            log.error("settings: %s", e)
            return False
        except KeyboardInterrupt:
            self._mark(None)
            raise
        except Exception as e:  # noqa: BLE001 - nobody is there to see it
            self._fall(e)
        return True

    async def start(self):
        """Run the agent for ever, beside the owner's other tasks. Raises SettingsError."""
        told = False
        while borrow("boot").held(self._folder, told):
            told = True
            await self.clock.sleep_ms(_HELD_MS)
        self._build(False)
        await self._serve()

    def reset(self, reason="asked for"):
        """Reset the board on purpose, after the callbacks for "reset" were told the reason."""
        self._reset(reason)

    async def _serve(self):
        try:
            await self._run_parts()
        except asyncio.CancelledError:
            self._mark(None)
            raise
        except Exception as e:
            self._mark(e)
            raise

    async def _run_parts(self):
        self._recover()
        parts = (self._runner.run, self._connect, self._watchdog.run)
        tasks = [asyncio.create_task(self._keep(part)) for part in parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _keep(self, part):
        # A part that fails, for want of memory perhaps, goes on from what it left (P4).
        while True:
            try:
                await part()
            except Exception as e:  # noqa: BLE001
                log.write_exception(e)
            gc.collect()
            await self.clock.sleep_ms(_PAUSE_MS)

    async def _until_idle(self):
        self._build(True)
        task = asyncio.create_task(self._serve())
        while not self.online or self._cloud.behind or not self._intake.idle:
            await self.clock.sleep_ms(_LOOK_MS)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass

    def _build(self, brief):
        settings = borrow("settings")  # only the start needs it
        found = self._source if isinstance(self._source, dict) else settings.read(self._source)
        self._settings = checked = settings.check(found)
        limits = checked["limits"]
        cloud = settings.load_cloud(checked["cloud"])
        self._cloud = cloud.Cloud(checked, self.clock, self._catalogue)
        if checked["journal"] != "off":
            self._crashes_path = self._folder + "crashes"
            self._crashes, self._crash, safe = borrow("boot").begin(self._crashes_path, brief)
            if safe:
                self._registry = Registry()
                self._registry.closed = "no handlers run here after crashes: deploy to it again"
        path = self._folder + "journal"
        self._journal = journal = Journal(self.clock, path, limits["ids"], checked["journal"])
        self._outbox = Outbox(self.clock, limits, journal)
        self._runner = runner = Runner(self.clock, limits, journal, self._done)
        self._intake = Intake(
            self.clock, self._registry, runner, journal, self._outbox, self._done, checked
        )
        self._watchdog = Watchdog(checked["watchdog"], limits, self.clock, runner, self._reset)
        self._backoff = Backoff()
        self._network = Network(checked["network"], self.clock)
        self._clock_set = asyncio.Event()
        self.clock.changed = self._clock_changed
        if self._transport is None:
            from .mqtt import MQTTTransport  # a test brings its own and needs no socket

            self._transport = MQTTTransport(self.clock, limits["payload"])

    def _recover(self):
        # What an earlier life of this board left behind.
        slots, running = self._journal.load()
        self._outbox.restore(slots)
        for command in running:
            self._go_on(command, self._registry.get(command.name))

    def _go_on(self, command, handler):
        if handler and handler.after_reset:
            self._done(self._proved(command, handler))
        elif handler and handler.idempotent and command.attempts < _ATTEMPTS:
            self._repeats.append(asyncio.create_task(self._repeat(command, handler)))
        else:
            self._done(refuse(command, "interrupted", "the board was reset while it ran"))

    def _proved(self, command, handler):
        try:
            result = handler.after_reset(command)
            check_json(result)
            return Outcome(command, "succeeded", result)
        except Exception as e:  # noqa: BLE001 - the owner's code
            log.write_exception(e)
            return refuse(command, "failed", "%s: %s" % (type(e).__name__, e))

    async def _repeat(self, command, handler):
        command.receive(self.clock)
        if command.lifetime is not None:
            # Its deadline is on the server's clock, which nobody has told yet.
            wait_ms = self._settings["limits"]["clock_wait_s"] * 1000
            if not await self.clock.wait(self._clock_set, wait_ms):
                self._done(refuse(command, "expired", "the time was not known after the reset"))
                return
        outcome = self._runner.submit(command, handler)
        if outcome:
            self._done(outcome)

    def _catalogue(self):
        try:
            return borrow("catalogue").describe(self._registry)
        except OSError:
            return None  # not installed

    def _birth(self):
        found = borrow("boot").birth(self._crash)
        self._crash = None
        return found

    def _mark(self, error):
        # How this start ends: None on purpose. A board in safe mode stays there.
        path = self._crashes_path
        if path and error:
            borrow("boot").mark(path, self._crashes, error)
        elif path and not self._registry.closed:
            borrow("boot").unmark(path)

    def _clock_changed(self):
        # Deadlines move to the server's clock as soon as it is known.
        self._clock_set.set()
        self._runner.wake()

    def _reset(self, reason, crash=False):
        log.error("agent: resetting the board: %s", reason)
        self._call("reset", reason)
        self._mark(reason if crash else None)
        import machine  # a host has none, and no watchdog there asks for it

        machine.reset()

    def _fall(self, error):
        log.write_exception(error)
        import machine

        if not hasattr(machine, "reset"):
            raise error
        log.error("agent: resetting the board in %d s; Ctrl-C stops that", _RESET_S)
        time.sleep(_RESET_S)
        machine.reset()

    def _done(self, outcome):
        self._call("outcome", outcome)
        command = outcome.command
        if command.waiter is None:
            self._outbox.put(outcome)
        else:
            command.outcome = outcome
            command.waiter.set()

    async def _connect(self):
        # One session after the other, for ever.
        number = 0
        while True:
            number += 1
            gc.collect()
            session = Session(
                number, self._transport, self._cloud, self.clock, self._intake, self._proven
            )
            session.birth = self._birth  # pyright: ignore[reportAttributeAccessIssue]
            try:
                await self._network.up()
                if not self.clock.plausible:
                    await self._network.set_clock(self._cloud.endpoint(), self._journal.newest_ms)
                session.spawn(self._network.watch())
                await session.live(self._opened)
            except OSError as e:
                error = e
            self._network.dialled(session.dialled, error)
            self._watchdog.feed()
            pause = self._backoff.next_ms(error)
            self._closed(error, pause)
            await self.clock.sleep_ms(pause)

    def _proven(self):
        self._backoff.succeeded()
        self._watchdog.healthy()
        if self._crashes and not self._registry.closed and self.clock.ticks() >= _HEALTHY_MS:
            self._crashes = 0
            borrow("boot").mark(self._crashes_path, 0)

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
