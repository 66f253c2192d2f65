"""The collector of case files, tried on case files made to pass, fail, crash, hang and print."""

import os
import re
import subprocess
import sys

import pytest

from tools.places import ROOT

# The inner run takes the shared conftest as it is, but for where the case files are.
CONFTEST = """
from pathlib import Path
import host_tests.conftest as shared
shared.CASES = Path(__file__).with_name("cases")
from host_tests.conftest import *
"""

MIXED = """
import asyncio

def test_passes():
    assert 1 + 1 == 2

def test_fails():
    assert 1 + 1 == 3, "sums are wrong"

async def test_coroutine_passes():
    await asyncio.sleep(0)

async def test_coroutine_fails():
    await asyncio.sleep(0)
    raise ValueError("from a coroutine")

async def test_leaves_a_task_behind():
    asyncio.create_task(forever())

async def forever():
    while True:
        await asyncio.sleep(0)

async def test_leaves_a_task_that_cannot_be_cancelled():
    asyncio.create_task(stubborn())
    await asyncio.sleep(0)

async def stubborn():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

def test_exits():
    raise SystemExit(0)

def test_prints():
    print("half a line", end="")

def test_prints_and_fails():
    print("what it said")
    assert False

def test_after_all_of_these():
    pass
"""

CRASHES = """
def test_before():
    pass

def test_crash():
    import uctypes

    print("last words")
    uctypes.bytearray_at(0, 1)[0]

def test_after():
    pass
"""

HANGS = """
def test_hang():
    print("still here")
    while True:
        pass

def test_behind():
    pass
"""

WORDS = """
import sys

def test_32_bit_words():
    assert sys.maxsize == 0x7fffffff

def test_64_bit_words():
    assert sys.maxsize > 0x7fffffff
"""

CASES = {
    "mixed": MIXED,
    "crashes": CRASHES,
    "hangs": HANGS,
    "words": WORDS,
    "broken": "import sysconfig  # CPython alone has it\ndef test_never(): pass\n",
}

SKIPS = """
import asyncio

import pytest

def test_skipped():
    pytest.skip("no reason on the list")

@pytest.mark.xfail
def test_expected_to_fail():
    assert False

async def test_coroutine_fails():
    assert False, "it was awaited"

async def test_coroutine_hangs():
    await asyncio.Event().wait()
"""


class Inner:
    """One run of pytest in a process of its own."""

    def __init__(self, folder, *words, **environment):
        argv = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml"]
        argv += ["--rootdir", folder, "-p", "no:cacheprovider", "-v", "-o", "case_seconds=3"]
        env = {key: value for key, value in os.environ.items() if key != "CI"}
        done = subprocess.run(
            [*argv, *words],
            cwd=folder,
            env={**env, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
        )
        self.code, self.output = done.returncode, done.stdout + done.stderr

    def outcome(self, test):
        found = re.search(rf"{re.escape(test)} (PASSED|FAILED)", self.output)
        assert found, f"{test} did not run:\n{self.output}"
        return found[1]

    def failure(self, test):
        """What pytest prints below the heading of one failed test."""
        found = re.search(rf"_ {re.escape(test)} _+\n(.*?)\n___|$", self.output, re.S)
        return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    inner = tmp_path_factory.mktemp("collector") / "inner"
    (inner / "cases").mkdir(parents=True)
    (inner / "conftest.py").write_text(CONFTEST)
    (inner / "test_skips.py").write_text(SKIPS)
    for name, text in CASES.items():
        (inner / "cases" / f"test_{name}.py").write_text(text)
    return inner


@pytest.fixture(scope="module")
def inner(folder):
    return Inner(folder, "-k", "micropython", "cases")


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(
    ("test", "outcome"),
    [
        ("passes", "PASSED"),
        ("fails", "FAILED"),
        ("coroutine_passes", "PASSED"),
        ("coroutine_fails", "FAILED"),
        ("leaves_a_task_behind", "PASSED"),
        ("leaves_a_task_that_cannot_be_cancelled", "PASSED"),
        ("exits", "FAILED"),
        ("prints", "PASSED"),
        ("prints_and_fails", "FAILED"),
        ("after_all_of_these", "PASSED"),
    ],
)
def test_each_function_has_its_own_outcome(inner, test, outcome, bits):
    assert inner.outcome(f"cases/test_mixed.py::test_{test}[micropython-{bits}]") == outcome


@pytest.mark.parametrize("bits", [32, 64])
def test_each_interpreter_has_its_word_size(inner, bits):
    for words in (32, 64):
        test = f"cases/test_words.py::test_{words}_bit_words[micropython-{bits}]"
        assert inner.outcome(test) == ("PASSED" if words == bits else "FAILED")


def test_failure_shows_the_traceback_and_what_was_printed(inner):
    said = inner.failure("test_prints_and_fails[micropython-32]")
    assert "what it said" in said
    assert "AssertionError" in said
    assert "test_mixed.py" in said
    assert "sums are wrong" in inner.failure("test_fails[micropython-32]")


def test_crash_fails_its_test_and_those_behind_it(inner):
    file = "cases/test_crashes.py::test_"
    assert inner.outcome(file + "before[micropython-32]") == "PASSED"
    assert inner.outcome(file + "crash[micropython-32]") == "FAILED"
    assert inner.outcome(file + "after[micropython-32]") == "FAILED"
    assert "last words" in inner.failure("test_crash[micropython-32]")
    assert "code -11 before this test began" in inner.failure("test_after[micropython-32]")


def test_hang_is_stopped_and_fails(inner):
    assert inner.outcome("cases/test_hangs.py::test_hang[micropython-64]") == "FAILED"
    assert inner.outcome("cases/test_hangs.py::test_behind[micropython-64]") == "FAILED"
    said = inner.failure("test_hang[micropython-64]")
    assert "stopped after 3 s in this test" in said
    assert "still here" in said


def test_file_that_cannot_be_imported_fails_with_the_reason(inner):
    assert inner.outcome("cases/test_broken.py::test_never[micropython-32]") == "FAILED"
    assert "sysconfig" in inner.failure("test_never[micropython-32]")


def test_summary_counts_by_interpreter(inner):
    each = sum(text.count("def test_") for text in CASES.values())
    counts = f"0 on CPython, {each} on MicroPython 64-bit, {each} on MicroPython 32-bit"
    assert f"ran: {counts}" in inner.output


def test_one_id_runs_one_test_on_one_interpreter(folder):
    run = Inner(folder, "cases/test_crashes.py::test_after[micropython-32]")
    assert run.outcome("cases/test_crashes.py::test_after[micropython-32]") == "PASSED"
    assert "ran: 0 on CPython, 0 on MicroPython 64-bit, 1 on MicroPython 32-bit" in run.output


def test_one_name_runs_it_everywhere(folder):
    run = Inner(folder, "cases/test_mixed.py::test_coroutine_passes")
    assert run.code == 0
    assert "ran: 1 on CPython, 1 on MicroPython 64-bit, 1 on MicroPython 32-bit" in run.output


def test_coroutine_is_awaited_on_cpython(folder):
    run = Inner(folder, "test_skips.py::test_coroutine_fails")
    assert run.outcome("test_skips.py::test_coroutine_fails") == "FAILED"
    assert "it was awaited" in run.output


def test_tasks_left_behind_do_not_hold_cpython_up(folder):
    run = Inner(folder, "cases/test_mixed.py", "-k", "leaves and not micropython")
    assert "ran: 2 on CPython, 0 on" in run.output
    assert run.code == 0


def test_coroutine_that_hangs_is_stopped_on_cpython(folder):
    run = Inner(folder, "test_skips.py::test_coroutine_hangs")
    assert run.outcome("test_skips.py::test_coroutine_hangs") == "FAILED"
    assert "no end within 3 s" in run.output


def test_skips_fail_on_ci_alone(folder):
    words = ("test_skips.py::test_skipped", "test_skips.py::test_expected_to_fail")
    assert Inner(folder, *words).code == 0
    on_ci = Inner(folder, *words, CI="true")
    assert on_ci.code == 1
    assert "a failure on CI: test_skips.py::test_skipped" in on_ci.output
    assert "a failure on CI: test_skips.py::test_expected_to_fail" in on_ci.output
