"""A fleet: a table of devices, of which each board claims a row of its own, once and for all.

The table is the owner's and is only read. What was claimed stands beside it, in FILE.claims, without
anything secret: the board's serial number, the row's id, and whether the board came online.
"""

import csv
import json
import re
import threading
from pathlib import Path
from typing import NamedTuple

from tools.report import Problem

# column: the setting
_COLUMNS = {
    "id": ("device", "id"),
    "name": ("device", "name"),
    "login": ("devicehive", "login"),
    "password": ("devicehive", "password"),
    "refresh_token": ("devicehive", "refresh_token"),
}
_SERIAL = "serial"


class Row(NamedTuple):
    """One device of the table. serial: of the board that it is for, "" for any."""

    id: str
    serial: str
    settings: dict


class Fleet:
    """The table and its claims; boards may come from several threads.

    again: a board that was done is deployed to again, with its row.
    """

    def __init__(self, file: Path, again: bool = False):
        """Raises Problem for a table that can't be used."""
        self.rows = read(file)
        self._name = file.name
        self._file = file.with_name(file.name + ".claims")
        self._again = again
        self._claims = self._read_claims()
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def claim(self, board: str) -> Row | None:
        """The row of the board with that serial number, now and in later runs; None: it is done.

        Raises Problem when no row is left, and for a second board of the same number.
        """
        if not board:
            raise Problem("the board has no serial number: deploy to it alone, with --settings")
        with self._lock:
            if board in self._busy:
                raise Problem(f"two boards have the serial number {board}: take one of them off")
            self._busy.add(board)
            row = self._row_for(board)
            done = self._claims.get(board, {}).get("online", False)
            if done and not self._again:
                return None
            self._note(board, row.id, done)
            return row

    def finish(self, board: str, row: Row) -> None:
        """Notes that the board came online."""
        with self._lock:
            self._note(board, row.id, True)

    def _row_for(self, board: str) -> Row:
        mine = self._claims.get(board)
        taken = {claim["id"] for key, claim in self._claims.items() if key != board}
        for row in self.rows:
            if row.serial == board or (mine and row.id == mine["id"]):
                if row.id in taken:
                    raise Problem(f"{row.id} in {self._name} belongs to another board already")
                return row
        if mine:
            raise Problem(
                f"board {board} has claimed {mine['id']}, which is not in {self._name} any more: "
                f"put it back, or take the board out of {self._file.name}"
            )
        for row in self.rows:
            if not row.serial and row.id not in taken:
                return row
        raise Problem(f"{self._name} has no row left for board {board}")

    def _note(self, board: str, device: str, online: bool) -> None:
        self._claims[board] = {"id": device, "online": online}
        part = self._file.with_name(self._file.name + ".part")
        part.write_text(json.dumps(self._claims, indent=1) + "\n")
        part.replace(self._file)

    def _read_claims(self) -> dict[str, dict]:
        try:
            return json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise Problem(f"{self._file.name} can't be read: {error}") from None


def serial(usb: str, unique_id: str) -> str:
    """The serial number by which a board is known: the chip's own, in the letters that USB shows.

    Where USB is the chip's own, both are the same; an adapter's may be the same on all boards, so it
    counts only where the chip has none.
    """
    own = _plain(unique_id)
    return own if own.strip("0") and own.strip("f") else _plain(usb)


def _plain(number: str) -> str:
    return re.sub(r"[^0-9a-z]", "", number.lower())


def read(file: Path) -> list[Row]:
    """The rows of the table. Raises Problem for a table that can't be used, with line and reason."""
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            table = csv.DictReader(stream, restkey="")
            _check_columns(file, table.fieldnames or [])
            rows = [_row(file, table.line_num, line) for line in table if any(line.values())]
    except OSError as error:
        raise Problem(f"--fleet: {file}: {error.strerror}", 2) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise Problem(f"--fleet: {file} is no table: {error}", 2) from None
    if not rows:
        raise Problem(f"--fleet: {file} has no rows", 2)
    _refuse_twins(file, "id", [row.id for row in rows])
    _refuse_twins(file, _SERIAL, [row.serial for row in rows if row.serial])
    return rows


def _check_columns(file: Path, columns: list[str]) -> None:
    unknown = [column for column in columns if column not in (*_COLUMNS, _SERIAL)]
    if unknown or "id" not in columns:
        fits = ", ".join([*_COLUMNS, _SERIAL])
        amiss = f"{unknown[0]!r} is no column" if unknown else "the column id is missing"
        raise Problem(f"--fleet: {file}: {amiss}; there are: {fits}", 2)


def _row(file: Path, number: int, line: dict) -> Row:
    if not line["id"] or line.get(""):
        what = "more values than columns" if line.get("") else "no id"
        raise Problem(f"--fleet: {file}, line {number}: {what}", 2)
    settings: dict[str, dict] = {}
    for column, (section, key) in _COLUMNS.items():
        if line.get(column):
            settings.setdefault(section, {})[key] = line[column]
    return Row(line["id"], _plain(line.get(_SERIAL) or ""), settings)


def _refuse_twins(file: Path, column: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise Problem(f"--fleet: {file}: the {column} {value} is there more than once", 2)
