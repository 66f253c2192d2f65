"""The kit with which owners test their handlers, and a project that uses it as an owner would."""

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from host_tests.kit import Bench, BenchError

ROOT = Path(__file__).parents[1]

HEAD = """from agent import Agent
import asyncio, machine, time

board = Agent("settings.json")
"""


@pytest.fixture
def program(tmp_path):
    """Gives write(text): the path of a program, the head and the last line added."""

    def write(text: str) -> str:
        path = tmp_path / "main.py"
        path.write_text(HEAD + text + "\nboard.run()\n")
        return str(path)

    return write


ECHO = """
@board.command("echo")
def echo(command):
    return command.parameters
"""

WAIT = """
@board.command("wait")
async def wait(command):
    await asyncio.sleep_ms(command.parameters)
    return time.ticks_ms()
"""


def test_a_command_is_answered_without_time_passing(program):
    with Bench(program(ECHO)) as bench:
        sent = bench.send("echo", {"a": [1, None]})
        assert (sent.status, sent.result) == ("succeeded", {"a": [1, None]})
        assert bench.outcomes == [("echo", "succeeded", {"a": [1, None]})]
        assert "INFO outbox: echo 1 succeeded" in bench.log


def test_asyncios_sleep_ends_at_its_moment_and_no_earlier(program):
    with Bench(program(WAIT)) as bench:
        sent = bench.send("wait", 3600000)
        assert sent.status is None and sent.result is None
        bench.advance(3599.999)
        assert sent.status == "running"  # a sign of life, or the server would forget it
        bench.advance(0.001)
        assert (sent.status, sent.result) == ("succeeded", 3600000)


def test_a_blocking_sleep_blocks_the_program_and_not_the_test(program):
    text = """
@board.command("block")
def block(command):
    time.sleep(1)
    time.sleep_ms(500)
    return time.time()
"""
    with Bench(program(text + ECHO)) as bench:
        start = bench.send("block")
        echo = bench.send("echo", 1)
        bench.advance(1.499)
        assert (start.status, echo.status) == (None, None)
        bench.advance(0.001)
        assert (start.status, echo.status) == ("succeeded", "succeeded")
        assert start.result == 1795251601  # 2026-11-21T09:00:01Z


def test_every_wait_of_asyncio_follows_the_bench(program):
    text = """
@board.command("bound")
async def bound(command):
    try:
        await asyncio.wait_for_ms(asyncio.Event().wait(), 3000)
    except asyncio.TimeoutError:
        return "timeout"
"""
    with Bench(program(text)) as bench:
        sent = bench.send("bound")
        bench.advance(2.999)
        assert sent.status is None
        bench.advance(0.001)
        assert sent.result == "timeout"


def test_progress_is_among_the_reports(program):
    text = """
@board.command("count")
async def count(command):
    command.progress(1)
    await asyncio.sleep(1)
"""
    with Bench(program(text), settings={"progress": True}) as bench:
        sent = bench.send("count")
        assert (sent.status, sent.result) == ("running", 1)
        bench.advance(1)
        assert sent.reports == [("running", 1), ("succeeded", None)]


def test_offline_nothing_arrives_and_online_brings_it_within_a_second(program):
    with Bench(program(ECHO)) as bench:
        bench.offline()
        sent = bench.send("echo", 1)
        bench.advance(1200)
        assert sent.status is None
        bench.online()
        bench.advance(1)
        assert sent.reports == [("succeeded", 1)]


def test_an_outcome_waits_for_the_connection(program):
    with Bench(program(WAIT)) as bench:
        sent = bench.send("wait", 1000)
        bench.offline()
        bench.advance(60)
        assert sent.status is None
        bench.online()
        bench.advance(1)
        assert sent.status == "succeeded"


def test_a_power_cut_ends_everything_and_leaves_the_files(program):
    text = """
starts = 1
try:
    with open("starts") as file:
        starts += int(file.read())
except OSError:
    pass
with open("starts", "w") as file:
    file.write(str(starts))

@board.command("write")
async def write(command):
    try:
        await asyncio.sleep(5)
    finally:
        machine.Pin(4).on()
        with open("written", "w") as file:
            file.write("yes")
"""
    with Bench(program(text + WAIT)) as bench:
        sent = bench.send("write")
        bench.advance(1)
        bench.reset()
        bench.advance(60)
        assert sent.status == "interrupted"
        assert not Path("written").exists() and bench.pin(4).levels == []
        assert Path("starts").read_text() == "2" == (bench.folder / "starts").read_text()
        assert bench.send("wait", 0).result == 60000  # ticks begin anew


def test_a_power_cut_in_the_middle_of_a_blocking_handler(program):
    text = """
@board.command("block")
def block(command):
    time.sleep(10)
    machine.Pin(4).on()
"""
    with Bench(program(text)) as bench:
        sent = bench.send("block")
        bench.advance(1)
        bench.reset()
        bench.advance(60)
        assert sent.status == "interrupted" and bench.pin(4).levels == []


def test_a_power_cut_takes_the_outputs_down_and_leaves_what_is_driven(program):
    text = """
@board.command("raise")
def put_up(command):
    machine.Pin(4).on()
    machine.PWM(5, freq=50, duty_u16=9)
"""
    with Bench(program(text)) as bench:
        bench.send("raise")
        bench.pin(6).drive(1)
        assert (bench.pin(4).level, bench.pin(5).duty_u16) == (1, 9)
        bench.reset()
        assert (bench.pin(4).level, bench.pin(5).duty_u16) == (0, None)
        assert (bench.pin(4).levels, bench.pin(6).level) == ([1], 1)


def test_machine_reset_does_not_return_and_the_next_life_knows_its_cause(program):
    text = """
@board.command("restart", after_reset=lambda command: machine.reset_cause())
def restart(command):
    machine.reset()
    machine.Pin(4).on()
"""
    with Bench(program(text)) as bench:
        assert bench.machine.reset_cause() == bench.machine.PWRON_RESET
        sent = bench.send("restart")
        assert sent.reports == [("succeeded", bench.machine.HARD_RESET)]
        assert bench.pin(4).levels == []


def test_modules_beside_the_program_start_anew_even_when_cut_off_in_their_import(tmp_path):
    (tmp_path / "main.py").write_text("import app_of_test_kit\n")
    app = HEAD + "import state_of_test_kit as state\n" + ECHO.replace("command.par", "state.par")
    (tmp_path / "app_of_test_kit.py").write_text(app + "    state.parameters += 1\n")
    (tmp_path / "state_of_test_kit.py").write_text("parameters = 1\n")
    counting = app.replace("    return", "    state.parameters += 1\n    return")
    (tmp_path / "app_of_test_kit.py").write_text(counting + "\nboard.run()\n")
    with Bench(str(tmp_path / "main.py")) as bench:
        assert [bench.send("echo").result for _ in range(2)] == [2, 3]
        bench.reset()
        assert bench.send("echo").result == 2
    assert not [name for name in sys.modules if name.endswith("_of_test_kit")]


def test_pins_are_read_and_driven(program):
    text = """
led = machine.Pin("LED", machine.Pin.OUT, value=1)
button = machine.Pin(0, machine.Pin.IN, machine.Pin.PULL_UP)
pressed = asyncio.ThreadSafeFlag()
button.irq(lambda pin: pressed.set(), machine.Pin.IRQ_FALLING)
dimmer = machine.PWM(machine.Pin(5), freq=1000, duty_u16=0)

@board.command("level")
def level(command):
    dimmer.duty_u16(machine.ADC(26).read_u16() // 2)
    return button.value()

@board.command("press")
async def press(command):
    await pressed.wait()
    led.toggle()
    return time.ticks_ms()
"""
    with Bench(program(text)) as bench:
        bench.pin(26).reading_u16 = 5000
        assert bench.send("level").result == 1
        assert (bench.pin(5).freq, bench.pin(5).duty_u16) == (1000, 2500)
        sent = bench.send("press")
        bench.advance(2)
        assert (sent.status, bench.pin("LED").level) == (None, 1)
        bench.pin(0).drive(0)
        assert (sent.status, sent.result, bench.pin("LED").levels) == ("succeeded", 2000, [1, 0])
        again = bench.send("press")
        bench.pin(0).drive(1)
        assert again.status is None


def test_an_interrupt_that_raises_is_printed_and_the_program_goes_on(program, capsys):
    text = "machine.Pin(0).irq(lambda pin: 1 / 0)\n" + ECHO
    with Bench(program(text)) as bench:
        bench.pin(0).drive(1)
        assert bench.send("echo", 1).status == "succeeded"
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_the_boards_small_answers(program):
    text = """
@board.command("about")
def about(command):
    import gc
    return [machine.unique_id().hex(), machine.freq(), gc.mem_free(), len(time.localtime())]
"""
    with Bench(program(text)) as bench:
        assert bench.send("about").result == ["240ac4000102", 160000000, 120000, 8]


def test_the_watchdog_is_fed_on_the_fake_machine(program):
    with Bench(program(ECHO), settings={"watchdog": {"timeout_ms": 8000}}) as bench:
        bench.advance(60)
        assert bench.machine.watchdog_ms == 8000
        fed = bench.machine.feeds
        bench.advance(10)
        assert bench.machine.feeds >= fed + 4


def test_a_program_may_have_a_loop_of_its_own(tmp_path):
    text = HEAD + ECHO + "async def main():\n    await board.start()\n\nasyncio.run(main())\n"
    (tmp_path / "main.py").write_text(text)
    with Bench(str(tmp_path / "main.py")) as bench:
        assert bench.send("echo", 1).status == "succeeded"


def test_a_program_that_returns_from_run_goes_on_to_its_end(tmp_path):
    text = HEAD + ECHO + 'board.run(until="idle")\nmachine.Pin(4).on()\n'
    (tmp_path / "main.py").write_text(text)
    with Bench(str(tmp_path / "main.py")) as bench:
        bench.advance(1)
        assert bench.pin(4).levels == [1]
        assert bench.send("echo").status is None


def test_modules_files_and_settings_are_given(program, tmp_path):
    class Sensor:
        @staticmethod
        def measure():
            return 21

    text = """
import dht
bus = machine.I2C(0)

@board.command("read")
def read(command):
    with open("data/name.txt") as file:
        return [dht.measure(), bus, file.read(), command.device]
"""
    (tmp_path / "settings.json").write_text('{"device": {"id": "shed-1", "name": "Shed"}}')
    modules = {"dht": Sensor, "machine.I2C": lambda number: number}
    settings = {"device": {"id": "shed-2"}}
    files = {"data/name.txt": "Anna"}
    with Bench(program(text), settings=settings, modules=modules, files=files) as bench:
        assert bench.send("read").result == [21, 0, "Anna", "shed-2"]
        bench.reset()
        assert bench.send("read").result == [21, 0, "Anna", "shed-2"]
        assert '"name": "Shed"' in Path("settings.json").read_text()


def test_fields_of_the_sender_reach_the_handler(program):
    text = """
@board.command("who")
def who(command):
    return command.cloud["userId"]
"""
    with Bench(program(text)) as bench:
        assert bench.send("who", userId=42).result == 42


def test_a_command_over_the_limit_is_answered_as_on_a_board(program):
    with Bench(program(ECHO), settings={"limits": {"payload": 2000}}) as bench:
        sent = bench.send("echo", "x" * 2000)
        assert sent.status == "too_large" and "limits.payload" in sent.result["error"]
        assert bench.send("echo", "x" * 500).status == "succeeded"


def test_of_a_command_over_the_limit_the_first_bytes_come_as_devicehive_writes_them(
    program, capsys
):
    text = 'board.on("outcome", lambda outcome: print("taken at", outcome.command.timestamp))\n'
    with Bench(program(text + ECHO)) as bench:
        bench.send("echo", "x" * 9000, timestamp="2026-11-21T08:59:59.000")
    assert "taken at 1795251599000" in capsys.readouterr().out


def test_parameters_that_json_lacks_are_the_tests_own_error(program):
    with Bench(program(ECHO)) as bench, pytest.raises(TypeError):
        bench.send("echo", {1, 2})


def test_everything_is_given_back(program):
    before = (os.getcwd(), list(sys.path), threading.active_count(), set(sys.modules))
    functions = (time.sleep, time.time, time.gmtime, asyncio.run, asyncio.sleep, gc.mem_free)
    with Bench(program(WAIT)) as bench:
        bench.send("wait", 5000)
        bench.reset()
        bench.send("wait", 5000)
        folder = bench.folder
        assert Path.cwd() == folder.resolve()
        assert time.time() != 1795251600  # only the program's clock is the bench's
        assert asyncio.run(asyncio.sleep(0, "real")) == "real"
    assert before == (os.getcwd(), list(sys.path), threading.active_count(), set(sys.modules))
    assert functions == (
        time.sleep,
        time.time,
        time.gmtime,
        asyncio.run,
        asyncio.sleep,
        gc.mem_free,
    )
    assert not folder.exists()
    assert not hasattr(time, "sleep_ms")


def refusal(path: str, **options) -> str:
    with pytest.raises(BenchError) as caught, Bench(path, **options):
        pass
    return str(caught.value)


def test_a_program_that_is_not_there_is_told_with_the_places_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = Path(__file__).parent
    assert refusal("absent.py") == f"there is no absent.py in {here} nor in {tmp_path}"


def test_a_program_is_found_in_the_working_directory(program, tmp_path, monkeypatch):
    program(ECHO)
    monkeypatch.chdir(tmp_path)
    with Bench("main.py") as bench:
        assert bench.send("echo", 1).status == "succeeded"


def test_a_program_that_raises_is_told_with_its_line(program):
    assert refusal(program("nonsense")) == (
        "main.py, line 5: NameError: name 'nonsense' is not defined"
    )
    assert re.fullmatch(r"main.py, line 5: SyntaxError: .*", refusal(program("a b")))


def test_a_program_that_raises_later_fails_the_test_then(program):
    text = (
        HEAD + "async def main():\n    await asyncio.sleep(1)\n    1 / 0\n\nasyncio.run(main())\n"
    )
    path = Path(program(""))
    path.write_text(text)
    with Bench(str(path)) as bench:
        with pytest.raises(BenchError, match=r"main\.py, line 7: ZeroDivisionError"):
            bench.advance(1)


def test_a_missing_module_is_told_with_the_way_to_give_it(program):
    said = refusal(program("import dht"))
    assert said == (
        "main.py, line 5: ModuleNotFoundError: No module named 'dht'; "
        'give your own: Bench(..., modules={"dht": my_fake})'
    )
    said = refusal(program("machine.I2C(0)"))
    assert "the bench's machine has no I2C" in said and '{"machine.I2C": my_fake}' in said
    assert '{"machine.NAME": my_fake}' in refusal(program("from machine import I2C"))


def test_a_program_that_never_runs_its_board_is_told(tmp_path):
    (tmp_path / "main.py").write_text(HEAD)
    said = refusal(str(tmp_path / "main.py"))
    assert said == "main.py ended without board.run(): nothing listens for commands"


def test_settings_that_can_not_be_used_are_told(program):
    said = refusal(program(ECHO), settings={"limit": 1})
    assert said == "main.py can't start: settings: limit is not a setting"


def test_a_program_that_never_waits_is_told_with_its_line_and_ended(program):
    before = threading.active_count()
    text = """
@board.command("spin")
def spin(command):
    while True:
        pass
"""
    with Bench(program(text), patience_s=0.2) as bench:
        with pytest.raises(BenchError) as caught:
            bench.send("spin")
    assert re.fullmatch(
        r"main.py ran for 0.2 s without ever waiting, now at main.py, line [89] \(spin\)",
        str(caught.value),
    )
    assert threading.active_count() == before


def test_a_program_that_resets_for_ever_is_told(program):
    assert refusal(program("machine.reset()")) == "main.py resets the board again and again"


def test_a_bench_without_its_with_is_told(program):
    with pytest.raises(BenchError, match="inside its with"):
        Bench(program(ECHO)).send("echo")


OWNERS_PROGRAM = """from agent import Agent
import asyncio
import machine

led = machine.Pin(2, machine.Pin.OUT)
board = Agent("settings.json")


@board.command("blink", params={"times": (int, 1, 100)}, timeout=30)
async def blink(command):
    for _ in range(2 * command.parameters["times"]):
        led.toggle()
        await asyncio.sleep_ms(200)
    return {"blinked": command.parameters["times"]}


board.run()
"""

OWNERS_TEST = """from host_tests.kit import Bench


def test_blink():
    with Bench("main.py") as bench:
        sent = bench.send("blink", {"times": 3})
        bench.advance(1.2)
        assert (sent.status, sent.result) == ("succeeded", {"blinked": 3})
        assert bench.pin(2).levels == [1, 0, 1, 0, 1, 0]


def test_wrong_parameters():
    with Bench("main.py") as bench:
        assert bench.send("blink", {"times": 500}).status == "rejected"
"""


@pytest.fixture
def project(tmp_path):
    """Gives run(test): what plain pytest makes of an owner's project outside the checkout."""
    assert ROOT not in tmp_path.parents

    def run(test: str) -> subprocess.CompletedProcess:
        home, scratch = tmp_path / "project", tmp_path / "scratch"
        home.mkdir()
        scratch.mkdir()
        (home / "main.py").write_text(OWNERS_PROGRAM)
        (home / "test_main.py").write_text(test)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
        words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(home)]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert list(scratch.iterdir()) == []
        return done

    return run


def test_an_owners_test_passes_under_plain_pytest(project):
    done = project(OWNERS_TEST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout and "warning" not in done.stdout


def test_an_owners_test_with_a_wrong_expectation_fails(project):
    wrong = OWNERS_TEST.replace('{"blinked": 3}', '{"blinked": 4}')
    assert wrong != OWNERS_TEST
    done = project(wrong)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout and "{'blinked': 3}" in done.stdout
