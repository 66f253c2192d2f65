"""Collects the case files a second and a third time, to run on real MicroPython.

`cases/test_x.py::test_y` is the test on CPython; `cases/test_x.py::test_y[micropython-32]` and
`[micropython-64]` are the same function on the unix port. Each file is run once an interpreter, in
one process, when the first of its tests is due.
"""

import ast
import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from tools import interpreters, umqtt
from tools.report import Problem

RUNNER = Path(__file__).with_name("run_cases.py")
HEAPS = {32: "512k", 64: "1m"}  # objects are twice as large with 64-bit words


class MicroPythonCases:
    """The pytest plugin for one word size; absent says why there is no such interpreter.

    folder: of the case files; its package's folder stands in the import root, as host_tests does.
    """

    def __init__(self, bits: int, folder: Path, absent: str = ""):
        self.bits, self.folder, self.root = bits, folder, folder.parent.parent
        self.absent = absent
        self._interpreter = None

    def pytest_collect_file(self, file_path: Path, parent):
        if file_path.parent == self.folder and file_path.match("test_*.py") and self.interpreter:
            return CaseFile.from_parent(parent, path=file_path, cases=self)
        return None

    @property
    def interpreter(self) -> interpreters.Interpreter | None:
        if not self._interpreter and not self.absent:
            try:
                self._interpreter = interpreters.find(self.bits)
            except Problem as problem:
                self.absent = str(problem)
        return self._interpreter


class CaseFile(pytest.File):
    """One case file on one interpreter."""

    def __init__(self, *, cases: MicroPythonCases, **kw):
        super().__init__(**kw)
        self.cases = cases
        self._run = None

    def collect(self):
        for node in ast.parse(self.path.read_bytes()).body:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if function and node.name.startswith("test_"):
                name = f"{node.name}[micropython-{self.cases.bits}]"
                yield Case.from_parent(self, name=name, test=node.name, line=node.lineno - 1)

    def result(self, test: str) -> "Result":
        """The result of one test; the first call runs all that were selected of this file."""
        if self._run is None:
            chosen = [item.test for item in self.session.items if item.parent is self]
            seconds = float(self.config.getini("case_seconds"))
            self._run = Run(self.cases, self.path, chosen, seconds)
        return self._run.result(test)


class Failed(Exception):
    """A case that did not pass; its text is what the interpreter said."""


class Case(pytest.Item):
    """One test function on one interpreter."""

    def __init__(self, *, test: str, line: int, **kw):
        super().__init__(**kw)
        self.test, self.line = test, line
        self.user_properties.append(("interpreter", f"MicroPython {self.parent.cases.bits}-bit"))

    def runtest(self) -> None:
        passed, text = self.parent.result(self.test)
        if not passed:
            raise Failed(text)
        if text:
            self.add_report_section("call", "stdout", text)

    def repr_failure(self, excinfo, style=None):
        if excinfo.errisinstance(Failed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, self.line, self.name


Result = tuple[bool, str]


class Run:
    """One process, and what it said of each test."""

    def __init__(self, cases: MicroPythonCases, file: Path, tests: list[str], seconds: float):
        self.mark = secrets.token_hex(8)  # nothing a test prints can be taken for a result
        module = ".".join(file.relative_to(cases.root).with_suffix("").parts)
        words = (RUNNER, self.mark, module, *tests)
        argv = cases.interpreter.argv(*words, heap=HEAPS[cases.bits])
        self.output, self.end = self._execute(argv, cases.root, seconds)

    def _execute(self, argv: list[str], root: Path, seconds: float) -> tuple[str, str]:
        env = {**os.environ, "MICROPYPATH": f"{root}:{umqtt.folder()}:.frozen"}
        child = subprocess.Popen(
            argv,
            cwd=root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            output, _ = child.communicate(timeout=seconds)
            end = f"the process ended with code {child.returncode}"
        except subprocess.TimeoutExpired:
            child.kill()
            output, _ = child.communicate()
            end = f"the process was stopped after {seconds:g} s"
        return output.decode(errors="replace"), end

    def result(self, test: str) -> Result:
        mark = re.escape(self.mark)
        started = rf"{mark} started {test}\n"
        whole = re.search(rf"{started}(.*?){mark} (passed|failed) {test}\n", self.output, re.S)
        if whole:
            return whole[2] == "passed", whole[1]
        begun = re.search(rf"{started}(.*)", self.output, re.S)
        if begun:
            return False, f"{self.end} in this test; until then it printed:\n{begun[1]}"
        said = re.sub(rf"{mark} ", "", self.output)
        return False, f"{self.end} before this test began; all that it printed:\n{said}"
