"""The REPL of a board, as a state machine without any input or output of its own.

After micropython's shared/runtime/pyexec.c and docs.micropython.org, "The REPL" ("Raw mode and
raw-paste mode").
"""

import struct

A, B, C, D, E = b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"

_RAW = b"raw REPL; CTRL-B to exit\r\n"
_PROMPT = b"\r\n>>> "
_PASTE = b"paste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== "
_WINDOW = 128
_CANCELLED = (
    b'Traceback (most recent call last):\r\n  File "<stdin>", line 1\r\nKeyboardInterrupt: \r\n'
)


class Repl:
    """What a board's main loop does with the characters that arrive.

    send: a function of bytes for the line
    board: run(kind, source), interrupt(), type_in(bytes), untyped() -> bytes, reboot()
    banner: the line that a REPL begins with
    """

    def __init__(self, send, board, banner):
        self._send = send
        self._board = board
        self._banner = banner
        self._modes = {
            "friendly": self._friendly,
            "raw": self._raw,
            "raw paste": self._raw_paste,
            "paste": self._paste,
        }
        self.running = None
        self.interruptible = True
        self._mode = "friendly"
        self._line = bytearray()
        self._window = 0
        self.power_up()

    def power_up(self):
        """Forget which REPL was chosen, and what was typed."""
        self.raw = False
        self._input = bytearray()

    def begin(self):
        """Begin anew, in the mode that was chosen, with boot.py."""
        self._line.clear()
        self.interruptible = True
        self._start("boot.py", b"F", b"boot.py")

    def feed(self, data):
        """Take what came over the line."""
        self._input += data
        while self._input:
            if self.running:
                self._while_running()
                return
            character = bytes(self._input[:1])
            del self._input[:1]
            self._modes[self._mode](character)

    def ended(self, how, said):
        """A program ended. how: b"o", b"e" (an exception, `said`), b"x" (SystemExit), b"-" (none)."""
        what, self.running = self.running, None
        self._input[:0] = self._board.untyped()
        self.interruptible = True
        said = said.replace(b"\n", b"\r\n")
        self._send(D + said + D if what == "block" else said)
        if how == b"x":
            self._soft_reset()
        elif what == "boot.py" and how != b"e" and not self.raw:
            self._start("main.py", b"F", b"main.py")
        elif what in ("boot.py", "main.py"):
            self._begin()
        elif what == "block":
            self._send(b">")
        else:
            self._send(b">>> ")
        self.feed(b"")

    def _start(self, what, kind, source):
        self.running = what
        self._board.run(kind, source)

    def _while_running(self):
        # The interrupt character never gets as far as the buffer that a program reads.
        data = bytes(self._input)
        self._input.clear()
        if self.interruptible:
            typed = data.replace(C, b"")
            if len(typed) < len(data):
                self._board.interrupt()
            data = typed
        if data:
            self._board.type_in(data)

    def _begin(self):
        """The REPL of the mode that was chosen."""
        self._line.clear()
        if self.raw:
            self._mode = "raw"
            self._send(_RAW + b">")
        else:
            self._mode = "friendly"
            self._send(self._banner + b'\r\nType "help()" for more information.' + _PROMPT)

    def _soft_reset(self):
        self._send(b"MPY: soft reboot\r\n")
        self._board.reboot()

    def _raw(self, character):
        if character == A:
            if self._line == E + b"A":
                self._begin_raw_paste()
            else:
                self._begin()
        elif character == B:
            self._send(b"\r\n")
            self.raw = False
            self._begin()
        elif character == C:
            self._line.clear()
        elif character == D:
            self._send(b"OK")
            if self._line:
                self._execute(b"X", "block")
            else:
                self._send(b"\r\n")
                self._soft_reset()
        else:
            self._line += character

    def _execute(self, kind, what):
        source = bytes(self._line)
        self._line.clear()
        self._start(what, kind, source)

    def _begin_raw_paste(self):
        self._line.clear()
        self._window = _WINDOW
        self._mode = "raw paste"
        self._send(b"R\x01" + struct.pack("<H", _WINDOW) + b"\x01")

    def _raw_paste(self, character):
        if character in (C, D):
            self._mode = "raw"
            self._send(D)
        if character == C:
            self._line.clear()
            self._send(D + _CANCELLED + D + b">")
        elif character == D:
            self._execute(b"X", "block")
        else:
            self._line += character
            self._window -= 1
            if not self._window:
                self._window = _WINDOW
                self._send(b"\x01")

    def _friendly(self, character):
        if not self._line and character in (A, B, D, E):
            self._command(character)
        elif character == C:
            self._line.clear()
            self._send(_PROMPT)
        elif character in b"\r\n":
            self._send(b"\r\n")
            if self._line.strip():
                self._execute(b"S", "line")
            else:
                self._line.clear()
                self._send(b">>> ")
        elif character in b"\x7f\b":
            if self._line:
                del self._line[-1:]
                self._send(b"\b \b")
        else:
            self._line += character
            self._send(character)

    def _command(self, character):
        if character == A:
            self.raw = True
            self._send(b"\r\n")
            self._begin()
        elif character == B:
            self._send(b"\r\n")
            self._begin()
        elif character == D:
            self._send(b"\r\n")
            self._soft_reset()
        else:
            self._mode = "paste"
            self._send(b"\r\n" + _PASTE)

    def _paste(self, character):
        if character in (C, D):
            self._mode = "friendly"
            self._send(b"\r\n")
        if character == C:
            self._line.clear()
            self._send(b">>> ")
        elif character == D:
            self._execute(b"X", "line")
        else:
            self._line += character
            self._send(character if character != b"\r" else b"\r\n=== ")
