"""The life of a device: one thread that looks after its line, its processor and its watchdog."""

import os
import queue
import re
import selectors
import threading
import time

from host_tests.device_repl import Repl

# How long a program that prints waits for a listener who does not listen, and for how much.
_STALL_S = 2.0
_OUTBOX = 4096

# A pseudo-terminal does not always tell that it has room again.
_LOOK_S = 0.05

# Ctrl-C waits for a moment at which it does no harm.
_TRY_S = 0.002

# A board that dies at once each time it is started is not one of the things that boards do.
_MOST_CRASHES = 3

# A board's traceback does not tell of its firmware.
_STUB_LINE = re.compile(rb'  File "stub\.py", line \d+, in \w+\n')


class Life:
    """What happens between power-up and power-down.

    link: the line; make_board: a function of the causes of all starts, and `ahead_s`, that gives a Board
    banner: of the REPL; hardware: a Hardware; scale: of the watchdog's time
    """

    def __init__(self, link, make_board, banner, hardware, scale):
        self._link = link
        self._make_board = make_board
        self._hardware = hardware
        self._scale = scale
        self._ordered = queue.SimpleQueue()
        self._heard, self._order = os.pipe()
        self._outbox = bytearray()
        self._stalled_s = None
        self._unheard = False
        self._fault = None
        self._bites_s = self._wakes_s = self._appears_s = None
        self._ahead_s = 0
        self._crashes = 0
        self._alive = True
        self._board = None
        self.repl = Repl(self._send, self, banner)
        self.news = threading.Condition()
        self.sent = bytearray()
        self.reboots = []
        self.blocks = []
        self.watchdog = None
        self.settled = False
        self.error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()

    def end(self):
        self.order(self._die)
        self._thread.join(20)
        os.close(self._heard)
        os.close(self._order)

    def order(self, action):
        """Have the thread do something, from another; return when it has."""
        done = threading.Event()
        self._ordered.put((action, done))
        os.write(self._order, b"!")
        while not done.wait(0.1) and self._thread.is_alive():
            pass

    # What the REPL asks of a board.

    def run(self, kind, source):
        """Have a block run, unless the line is to be cut there."""
        if kind != b"F":
            if self._fault and self._fault.block():
                self.repl.running = None  # it is lost, and nothing runs
                self.cut()
                return
            self.blocks.append(source)
        self._board.run(kind, source)

    def interrupt(self):
        self._board.interrupt()

    def type_in(self, data):
        self._board.type_in(data)

    def untyped(self):
        return self._board.untyped()

    def reboot(self):
        """A soft reset: the memory is gone, the watchdog runs on."""
        self._restart("soft")

    # What tests do.

    def reset(self, cause):
        """A hard reset: `reset` or `power`."""
        self._hard_reset(cause)

    def set_fault(self, fault):
        self._fault = fault

    def cut(self):
        """Break the connection, as the fault that is due says."""
        fault, self._fault = self._fault, None
        self._outbox.clear()
        self._link.cut()
        if fault and fault.power:
            self._hard_reset("power")

    # The thread.

    def _run(self):
        try:
            self._hard_reset("power")
            while self._alive:
                self._turn()
        except Exception as e:  # noqa: BLE001 - it is raised again where the test is
            self.error = e
        finally:
            if self._board:
                self._board.end()
            self._link.close()
            with self.news:
                self.news.notify_all()

    def _die(self):
        self._alive = False

    def _turn(self):
        """Wait for whatever comes first, and do what is to be done."""
        ready = self._wait()
        if self._heard in ready:
            os.read(self._heard, 1)
            action, done = self._ordered.get()
            action()
            done.set()
            return
        if self._due():
            return  # what was ready may be another's by now
        if self._board.line in ready:
            self._listen_to_board()
        elif self._board.stdout in ready:
            self._cook(self._board.printed())
        elif "link" in ready:
            self._receive()
        self._flush()

    def _wait(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._heard, selectors.EVENT_READ, self._heard)
            selector.register(self._board.line, selectors.EVENT_READ, self._board.line)
            if len(self._outbox) < _OUTBOX:
                selector.register(self._board.stdout, selectors.EVENT_READ, self._board.stdout)
            events = selectors.EVENT_READ
            if self._outbox:
                events |= selectors.EVENT_WRITE
            if source := self._link.source():
                selector.register(source, events, "link")
            found = selector.select(self._patience_s())
            return [
                key.data
                for key, event in found
                if event & selectors.EVENT_READ or key.data != "link"
            ]

    def _patience_s(self):
        ends = [self._bites_s, self._wakes_s, self._appears_s]
        if self._outbox:
            ends.append(time.monotonic() + _LOOK_S)
        if self._board.interrupted:
            ends.append(time.monotonic() + _TRY_S)
        ends = [end for end in ends if end is not None]
        return max(min(ends) - time.monotonic(), 0) if ends else None

    def _due(self):
        """Do what it is time for; return whether that was something."""
        self._flush()
        self._board.deliver()
        now = time.monotonic()
        if self._bites_s is not None and now >= self._bites_s:
            self._hard_reset("watchdog")
        elif self._wakes_s is not None and now >= self._wakes_s:
            self._hard_reset("deepsleep")
        elif self._appears_s is not None and now >= self._appears_s:
            self._appears_s = None
            self._link.appear()
        elif self._stalled_s is not None and now >= self._stalled_s + _STALL_S:
            self._outbox.clear()
            self._stalled_s = None
            self._unheard = True
        else:
            return False
        return True

    # Starting.

    def _hard_reset(self, cause):
        self.watchdog = self._bites_s = self._wakes_s = None
        hardware = self._hardware
        if cause == "power" or not hardware.keeps_time:
            self._ahead_s = hardware.power_up - int(time.time())
        if self.reboots and (hardware.usb or cause == "power"):
            self._outbox.clear()
            self._unplug()
        self.repl.power_up()
        self._restart(cause)

    def _unplug(self):
        away_s = self._hardware.away_s
        if away_s:
            self._link.vanish()
            self._appears_s = time.monotonic() + away_s
        else:
            self._link.cut()

    def _restart(self, cause):
        if self._board:
            self._cook(self._board.printed())
            self._board.end()
        if cause != "soft":
            self._send(self._hardware.noise)
        with self.news:
            self.reboots.append(cause)
            self.news.notify_all()
        self._board = self._make_board(self.reboots, ahead_s=self._ahead_s)
        self.repl.begin()

    # The board.

    def _listen_to_board(self):
        board = self._board
        try:
            for kind, data in board.told():
                # What was printed before it was said.
                self._cook(board.printed())
                self._obey(kind, data)
                if self._board is not board:
                    return
        except EOFError:
            self._crash()

    def _obey(self, kind, data):
        if kind == b"B":
            self._settle()
        elif kind == b"E":
            self._crashes = 0
            self.repl.ended(data[:1], _STUB_LINE.sub(b"", data[1:]))
            if not self.repl.running:
                self._board.interrupted = None
                self._settle()
        elif kind == b"O":
            self._send(data)
        elif kind == b"K":
            self.repl.interruptible = int(data) == 3
        elif kind == b"T":
            self._ahead_s = int(data)
        elif kind in b"RU":
            self._hard_reset("reset")
        elif kind == b"D":
            self._sleep(int(data))
        elif kind == b"W":
            self.watchdog = int(data)
            self._feed()
        elif kind == b"F":
            self._feed()

    def _settle(self):
        """Note that there is a program that runs, or a prompt."""
        with self.news:
            self.settled = True
            self.news.notify_all()

    def _feed(self):
        if self.watchdog:
            self._bites_s = time.monotonic() + self.watchdog / 1000 * self._scale

    def _sleep(self, ms):
        self.watchdog = self._bites_s = None
        self._wakes_s = time.monotonic() + ms / 1000 if ms else None

    def _crash(self):
        self._crashes += 1
        if self._crashes > _MOST_CRASHES:
            raise RuntimeError("the interpreter ends each time that it is started")
        self._hard_reset("crash")

    # The line.

    def _receive(self):
        data = self._link.receive()
        if self._fault and (left := self._fault.bytes(len(data))) is not None:
            self.repl.feed(data[:left])
            self.cut()
            return
        self.repl.feed(data)

    def _cook(self, data):
        if data:
            self._send(data.replace(b"\n", b"\r\n"))

    def _send(self, data):
        with self.news:
            self.sent += data
            self.news.notify_all()
        if self._link.connected:
            self._outbox += data
        self._flush()
        if self._unheard:
            # Nobody took what came before: nothing waits for them any more.
            self._outbox.clear()

    def _flush(self):
        if self._outbox:
            sent = self._link.send(self._outbox)
            del self._outbox[:sent]
            if sent:
                self._stalled_s = None
                self._unheard = False
        if not self._outbox:
            self._stalled_s = None
        elif self._stalled_s is None:
            self._stalled_s = time.monotonic()


class Fault:
    """The connection is to break, once.

    after: when that many more bytes have come; block: in place of the nth block from now
    power: whether the power goes with it
    """

    def __init__(self, after=None, block=None, power=False):
        self._after = after
        self._block = block
        self.power = power

    def bytes(self, count):
        """Note that bytes came; give how many of them still arrive if that was the last."""
        if self._after is None:
            return None
        if count < self._after:
            self._after -= count
            return None
        return self._after

    def block(self):
        """Note that a block is to run; return whether it shall not."""
        if self._block is None:
            return False
        self._block -= 1
        return self._block <= 0
