"""What all tests share: the boards' modules on CPython, the case files on MicroPython, a broker.

A skipped test is a failure on CI (CI=true), unless its id is listed here with its reason.
"""

import asyncio
import inspect
import os
from collections import Counter
from pathlib import Path

import pytest

from host_tests import on_cpython
from host_tests.micropython_cases import MicroPythonCases
from host_tests.mosquitto import Mosquitto
from tools import umqtt

# Before anything of the agent is imported: it expects a board's modules.
on_cpython.install(umqtt.folder())

ALLOWED_SKIPS: dict[str, str] = {}

NOT_RUN = "the board test on a board (give --port CONNECT --hub-host ADDRESS)"

CASES = Path(__file__).with_name("cases")
ON_CI = os.environ.get("CI") == "true"


def pytest_addoption(parser):
    parser.addini(
        "case_seconds",
        "bound in seconds: a case file on one MicroPython, a coroutine test on CPython",
        default="120",
    )
    parser.addoption(
        "--only-cpython", action="store_true", help="leave the case files out on MicroPython"
    )
    # The board test's; `python3 -m tools test --help` tells about them.
    for name in ("--port", "--hub-host", "--ssid"):
        parser.addoption(name)


def pytest_configure(config):
    config.pluginmanager.register(Tally(), "tally")
    absent = "--only-cpython was given" if config.getoption("--only-cpython") else ""
    for bits in (64, 32):
        found = MicroPythonCases(bits, CASES, absent)
        config.pluginmanager.register(found, f"micropython-{bits}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs a coroutine test in an event loop of its own, as MicroPython's runner does."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    words = pyfuncitem._fixtureinfo.argnames
    test = pyfuncitem.obj(**{word: pyfuncitem.funcargs[word] for word in words})
    run_coroutine(test, float(pyfuncitem.config.getini("case_seconds")))
    return True


def run_coroutine(test, seconds: float) -> None:
    """asyncio.run with a bound: that one waits for ever for a task that swallows its cancellation,
    and such tasks are among the things under test."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(bounded(test, seconds))
    finally:
        loop.run_until_complete(abandon_others())
        asyncio.set_event_loop(None)
        loop.close()


async def bounded(test, seconds: float) -> None:
    task = asyncio.ensure_future(test)
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.print_stack()
        raise AssertionError(f"no end within {seconds:g} s")
    task.result()


async def abandon_others() -> None:
    """Cancels what a test left behind; what is still there after that is left to the collector."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=0.2)


class Tally:
    """Counts what really ran, by interpreter, and what was skipped."""

    def __init__(self):
        self.ran = Counter()
        self.skipped = {}
        self.tables = []  # what tests measured, in markdown

    def pytest_runtest_logreport(self, report):
        if report.skipped:  # an expected failure counts as skipped
            self.skipped[report.nodeid] = getattr(report, "wasxfail", "") or report.longrepr
        elif report.when == "call":
            self.ran[dict(report.user_properties).get("interpreter", "CPython")] += 1

    def pytest_collectreport(self, report):
        if report.skipped:
            self.skipped[report.nodeid] = report.longrepr

    def not_allowed(self) -> list[str]:
        return [test for test in self.skipped if test not in ALLOWED_SKIPS]

    def pytest_sessionfinish(self, session):
        absent = any(cases(session.config, bits).absent for bits in (64, 32))
        if ON_CI and session.exitstatus == 0 and (absent or self.not_allowed()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter, config):
        for table in self.tables:
            terminalreporter.write_line(table)
        names = ("CPython", "MicroPython 64-bit", "MicroPython 32-bit")
        counts = ", ".join(f"{self.ran[name]} on {name}" for name in names)
        terminalreporter.write_line(f"ran: {counts}")
        for bits in (64, 32):
            if reason := cases(config, bits).absent:
                terminalreporter.write_line(f"no {bits}-bit MicroPython: {reason}")
        if not config.getoption("--port"):
            terminalreporter.write_line(f"not run: {NOT_RUN}")
        for test in self.not_allowed() if ON_CI else ():
            reason = self.skipped[test]
            terminalreporter.write_line(f"skipped, a failure on CI: {test}: {reason}")


def cases(config, bits: int) -> MicroPythonCases:
    return config.pluginmanager.get_plugin(f"micropython-{bits}")


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory):
    """Gives start(*lines): a real broker with these lines of configuration, on a free port.

    Its result is a host_tests.mosquitto.Mosquitto; all of them are stopped after the last test.
    """
    brokers = []

    def start(*lines: str) -> Mosquitto:
        broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"), *lines)
        brokers.append(broker)
        return broker.start()

    yield start
    for broker in brokers:
        broker.stop()
