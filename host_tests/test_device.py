"""The scripted device under the real mpremote: what tests of deploying stand on."""

import os

import pytest
import serial

from host_tests.device import ESP32, PICO_W, Device

FOREVER = """
import time
print("main runs")
try:
    while True:
        time.sleep(1)
finally:
    print("main ends")
"""

BITTEN = """
import machine, time
print("cause", machine.reset_cause())
dog = machine.WDT(timeout=8000)
while True:
    dog.feed()
    time.sleep_ms(20)
"""


@pytest.fixture
def device(tmp_path):
    with Device(tmp_path / "board") as device:
        yield device


def ok(done):
    """What mpremote printed, having succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def put(device, name, text):
    (device.folder / name).write_text(text)


@pytest.mark.parametrize("link", ["socket", "pty"])
@pytest.mark.parametrize("bits", [32, 64])
def test_what_mpremote_sends_is_executed(tmp_path, link, bits):
    with Device(tmp_path / "board", link=link, bits=bits) as device:
        assert ok(device.run("exec", "a = 6", "exec", "print(a * 7)", "eval", "a")) == "42\n6\n"
        failed = device.run("exec", "1 / 0")
        assert failed.returncode == 1
        assert failed.stdout.splitlines() == [
            "Traceback (most recent call last):",
            '  File "<stdin>", line 1, in <module>',
            "ZeroDivisionError: divide by zero",
        ]
        assert b"print(a * 7)" in device.blocks


def test_a_soft_reset_forgets_and_resume_remembers(device):
    ok(device.run("exec", "a = 1"))
    assert ok(device.run("resume", "exec", "print(a)")) == "1\n"
    assert "NameError" in device.run("exec", "print(a)").stdout
    assert set(device.reboots[1:]) == {"soft"}


def test_a_program_of_a_file_runs(device, tmp_path):
    program = tmp_path / "program.py"
    lines = "\n".join(f"x{n} = {n}  # {'-' * 60}" for n in range(300))
    program.write_text(f"{lines}\nprint(x299)")
    assert ok(device.run("run", program)) == "299\n"


@pytest.mark.parametrize(
    ("hardware", "epoch", "kept"), [(PICO_W, 1970, False), (ESP32, 2000, True)]
)
def test_the_clock_is_set_and_survives_what_it_survives_on_a_board(
    tmp_path, hardware, epoch, kept
):
    year = "import time; print(time.gmtime(0)[0], time.gmtime()[0], type(time.time()))"
    with Device(tmp_path / "board", hardware) as device:
        first = 2021 if epoch == 1970 else 2000
        assert ok(device.run("exec", year)) == f"{epoch} {first} <class 'int'>\n"
        ok(
            device.run(
                "exec", "import machine; machine.RTC().datetime((2031, 5, 6, 1, 7, 8, 9, 0))"
            )
        )
        assert "(2031, 5, 6, 1, 7, 8," in ok(device.run("rtc"))
        device.press_reset()
        assert ok(device.run("exec", year)).split()[1] == ("2031" if kept else "2021")
        device.power_cycle()
        assert ok(device.run("exec", year)).split()[1] == str(first)


def test_it_says_what_board_and_what_firmware_it_is(tmp_path):
    script = """
import sys, os, machine, gc
gc.collect()
print(sys.platform, sys.implementation.version, sys.implementation[2], os.uname().release)
print(hasattr(os, "system"), machine.unique_id(), gc.mem_free())
"""
    with Device(tmp_path / "board", firmware="1.23.0", unique_id=b"\xff" * 8) as device:
        first, second = ok(device.run("exec", script)).splitlines()
        assert first == "rp2 (1, 23, 0, '') Raspberry Pi Pico W with RP2040 1.23.0"
        known, _, free = second.rpartition(" ")
        assert known == "False " + repr(b"\xff" * 8)
        assert abs(int(free) - PICO_W.heap) < 2048
        assert "MicroPython v1.23.0" in device.output


def test_a_hard_reset_runs_boot_and_main_and_ctrl_c_ends_it(device):
    put(device, "boot.py", "state = 'booted'")
    put(device, "main.py", "print(state)" + FOREVER)
    ok(device.run("reset"))
    device.await_output(r"booted\r\nmain runs")
    assert device.running and device.reboots[-1] == "reset"
    seen = len(device.output)
    # `resume` leaves out the soft reset, so only Ctrl-C can have ended it.
    assert ok(device.run("resume", "exec", "print(state)")) == "booted\n"
    device.await_output(r"main ends\r\nTraceback[\s\S]*KeyboardInterrupt", start=seen)
    assert not device.running and device.reboots[-1] == "reset"


def test_a_soft_reset_at_the_raw_repl_runs_boot_and_leaves_main_out(device):
    put(device, "boot.py", "print('boot runs')")
    put(device, "main.py", FOREVER)
    seen = len(device.output)
    ok(device.run("soft-reset"))
    device.await_output("boot runs", start=seen)
    assert "main runs" not in device.output[seen:]


def test_a_program_can_reset_the_board_or_restart_it_softly(device):
    put(device, "main.py", "print('main runs')")
    device.run("exec", "--no-follow", "import machine; machine.reset()")
    device.await_reboot("reset")
    device.await_output("main runs")
    seen = len(device.reboots)
    device.run("resume", "exec", "--no-follow", "import machine; machine.soft_reset()")
    device.await_reboot("soft", start=seen)


def test_a_board_that_prints_without_end_is_interrupted(device):
    put(device, "main.py", "while True:\n    print('still busy' * 9)")
    device.press_reset()
    device.await_output("still busy")
    assert ok(device.run("exec", "print('quiet')")) == "quiet\n"


def test_garbage_before_each_prompt_does_not_confuse_mpremote(tmp_path):
    with Device(tmp_path / "board", ESP32) as device:
        put(
            device,
            "boot.py",
            "import sys\nsys.stdout.buffer.write(b'\\xfe\\x80OK\\x04\\x01>\\n>')",
        )
        device.press_reset()
        assert ok(device.run("exec", "print('found')")) == "found\n"
        assert "rst:0x1" in device.output


def test_a_watchdog_outlives_ctrl_c_and_soft_resets_and_bites(tmp_path):
    with Device(tmp_path / "board", watchdog_scale=0.25) as device:
        put(device, "main.py", BITTEN)
        device.press_reset()
        device.await_output("cause 3")
        # Fed, it does not bite however long it lasts.
        with pytest.raises(AssertionError, match="no start of cause"):
            device.await_reboot("watchdog", timeout_s=3)
        ok(device.run("exec", "a = 1"))
        assert device.watchdog == 8000
        seen = len(device.output)
        device.await_reboot("watchdog", timeout_s=10)
        device.await_output("cause 3", start=seen)


def test_a_watchdog_beyond_the_hardware_is_refused(device):
    said = device.run("exec", "import machine; machine.WDT(timeout=9000)").stdout
    assert "ValueError: timeout exceeds 8388" in said


@pytest.mark.parametrize("link", ["pty", "socket"])
@pytest.mark.parametrize("power", [False, True])
def test_a_connection_that_is_cut_leaves_a_board_that_goes_on(tmp_path, link, power):
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3000))
    with Device(tmp_path / "board", link=link) as device:
        device.cut_at(8, power=power)
        assert device.run("fs", "cp", source, ":copy").returncode != 0
        assert (device.folder / "copy").stat().st_size < 3000
        assert device.reboots.count("power") == 1 + power
        device.cut_after(500, power=power)
        assert device.run("fs", "cp", source, ":copy").returncode != 0
        assert device.reboots.count("power") == 1 + 2 * power
        ok(device.run("fs", "cp", source, ":copy"))
        assert (device.folder / "copy").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("link", ["pty", "socket"])
def test_the_port_of_a_board_with_usb_is_away_for_a_while_after_a_reset(tmp_path, link):
    with Device(tmp_path / "board", PICO_W._replace(away_s=3.0), link=link) as device:
        device.press_reset()
        away = device.run("exec", "print(1)")
        assert away.returncode == 1 and "failed to access" in away.stderr
        tries = (device.run("exec", "print(2)").stdout for _ in range(60))
        assert next((text for text in tries if text), None) == "2\n"


def typed(port, *keys):
    """Type at the friendly REPL; give what is seen after each prompt."""
    with serial.Serial(port, timeout=10) as line:
        line.write(b"\r")
        line.read_until(b">>> ")
        seen = []
        for key in keys:
            line.write(key)
            seen.append(line.read_until(b">>> ").decode())
        return seen


def test_the_friendly_repl_takes_lines_pastes_and_control_characters(device):
    lines = [b"1 + 1\r", b"x = 5\r", b"half\x03", b"\x05print(x)\rprint(x + 1)\x04", b"1 / 0\r"]
    two, assigned, cancelled, pasted, failed = typed(device.port, *lines)
    assert two.splitlines()[1:] == ["2", ">>> "]
    assert assigned.splitlines()[1:] == [">>> "]
    assert "half" in cancelled
    assert pasted.splitlines()[-3:] == ["5", "6", ">>> "]
    assert "ZeroDivisionError" in failed
    restarted, forgotten = typed(device.port, b"\x04", b"x\r")
    assert "MPY: soft reboot" in restarted and "MicroPython v" in restarted
    assert "NameError" in forgotten
