"""`deploy` to one board: real mpremote, and a device side that runs what it sends."""

import json
import os
import shutil
import signal
import sys
import time

import pytest

from host_tests.deploy_kit import (
    BOARD,
    PASSWORD,
    TOKEN,
    Desk,
    Device,
    Hub,
    contents,
    files,
    lines,
    remember,
)
from host_tests.processes import Child
from tools import bytecode, umqtt
from tools.deploy import one, parcel, plan
from tools.places import ROOT

STEPS = [plan.WHO, plan.HOLD, plan.LOOK]
TITLES = [step.title for step in STEPS]
TITLES += ["copying umqtt.simple", "copying the agent", "copying the settings"]
TITLES += ["copying the program, main.py", plan.VERIFY.title, plan.CLOCK.title, plan.FINISH.title]


@pytest.fixture(scope="module")
def hub():
    with Hub() as found:
        yield found


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The agent of one moment: somebody may be at work on it."""
    return shutil.copytree(bytecode.compiled(), tmp_path_factory.mktemp("compiled") / "mpy")


@pytest.fixture
def desk(tmp_path, hub, compiled, capsys, monkeypatch):
    monkeypatch.setattr(bytecode, "compiled", lambda: compiled)
    return Desk(tmp_path, hub, capsys, monkeypatch)


@pytest.fixture
def device(tmp_path):
    with Device(tmp_path / "board", BOARD, link="pty") as found:
        yield found


def expected():
    """What is to lie in /lib."""
    folder = bytecode.compiled()
    return {
        "lib/" + file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*.mpy")
    }


def assert_listens(device):
    """The prompt comes up, by itself, and mpremote is answered."""
    start = len(device.output)
    device.power_cycle()
    device.await_output(">>> ", start=start)
    assert device.run("resume", "exec", "print('here')").stdout == "here\n"


def assert_deployed(device):
    assert contents(device, "lib") == expected()
    names = {path for path in contents(device) if "/" not in path}
    assert names - {"crashes"} == {"main.py", "settings.json"}


def test_dry_run_prints_what_a_deploy_does_and_sends_nothing(desk, device):
    settings = desk.put("settings.json", desk.hub.settings())
    words = ("deploy", "--port", device.port, "--board", "RPI_PICO_W", "--settings", settings)
    assert desk.tools(*words, "--dry-run") == 0
    printed = desk.out
    assert device.blocks == []
    assert device.reboots == ["power"]
    assert not one.files(device.port)[0].exists()
    assert desk.tools(*words, "--verbose", "--wait", 20) == 0
    assert lines(printed) == lines(desk.err)
    assert len(lines(printed)) == len(TITLES)


def test_dry_run_leaves_umqtt_out_where_the_firmware_has_it(desk):
    assert desk.tools("deploy", "--port", "P", "--board", "ESP32_GENERIC", "--dry-run") == 0
    assert "umqtt" not in desk.out
    assert desk.tools("deploy", "--port", "P", "--board", "RPI_PICO_W", "--dry-run") == 0
    assert "/umqtt :/lib\n" in desk.out


def test_second_deploy_copies_nothing_and_the_next_only_what_changed(desk, device, tmp_path):
    assert desk.deploy(device) == 0
    assert "online as board-1" in desk.out
    assert_deployed(device)
    assert json.loads(contents(device)["settings.json"]) == desk.hub.settings()
    assert b'LED, LIT = "LED", 1' in contents(device)["main.py"].replace(b"'", b'"')

    before = files(device, without=("journal", "crashes"))
    journal = []
    desk.at(plan.LOOK.title, lambda: remember(device))
    desk.at(plan.FINISH.title, lambda: journal.append(contents(device, "journal", without=())))
    assert desk.deploy(device) == 0
    assert journal[0]["journal/memory"] == b"kept"
    assert "0 of 22 files copied".replace("22", str(len(expected()) - 1)) in desk.err
    assert files(device, without=("journal", "crashes")) == before

    changed = tmp_path / "mpy"
    shutil.copytree(bytecode.compiled(), changed)
    source = desk.put("log.py", (ROOT / "agent" / "log.py").read_text() + "\nNEW = 1\n")
    bytecode.compile_file(tmp_path / "log.py", source, changed / "agent" / "log.mpy")
    desk.patches.setattr(bytecode, "compiled", lambda: changed)
    assert desk.deploy(device) == 0
    after = files(device, without=("journal", "crashes"))
    assert {path for path in after if after[path] != before.get(path)} == {"lib/agent/log.mpy"}


@pytest.mark.parametrize(
    ("title", "power"),
    [(title, False) for title in TITLES]
    + [(title, True) for title in (*TITLES[1:2], *TITLES[4:7])],
)
def test_cut_at_a_step_the_next_deploy_starts_cleanly(desk, device, title, power):
    desk.at(title, lambda: device.cut_at(1, power))
    code = desk.deploy(device)
    if code:
        assert desk.err.count("try again") + desk.err.count("deploy again") == 1, desk.err
        # Whatever lies there by half, the board comes up and listens.
        assert_listens(device)
        assert desk.deploy(device) == 0
    else:
        assert title in TITLES[:3]  # asked again, since nothing is half done there
    assert_deployed(device)


def test_cut_in_a_module_the_board_does_not_hang_in_its_import(desk, device):
    assert desk.deploy(device) == 0
    shutil.rmtree(device.folder / "lib" / "agent")
    desk.at("copying the agent", lambda: device.cut_after(9000, power=True))
    assert desk.deploy(device) == 1
    assert "the connection to the board broke" in desk.err
    halves = [
        path
        for path, content in contents(device, "lib").items()
        if content != expected()[path] and len(content) > 4
    ]
    assert halves, contents(device, "lib").keys()
    assert_listens(device)
    assert desk.deploy(device) == 0
    assert_deployed(device)


@pytest.mark.parametrize(("flash", "says"), [(40960, "KB free"), (81920, "system is full")])
def test_full_disk_is_told_and_the_next_deploy_goes_on(desk, tmp_path, flash, says):
    with Device(tmp_path / "board", BOARD._replace(flash=flash), link="pty") as small:
        assert desk.deploy(small) == 1
        assert says in desk.err
        assert "remove files of yours" in desk.err
        assert "Traceback" not in desk.err
    with Device(tmp_path / "board", BOARD, link="pty") as device:
        assert desk.deploy(device) == 0
        assert_deployed(device)


def test_old_firmware_is_refused_and_goes_on_with_what_it_ran(desk, tmp_path):
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "main.py").write_text("print('my program')\nwhile True: pass\n")
    with Device(folder, BOARD, link="pty", firmware="1.23.0") as device:
        device.await_output("my program")
        before = files(device)
        assert desk.deploy(device) == 1
        assert "MicroPython 1.23.0, and the agent needs 1.24 or newer" in desk.err
        assert files(device) == before
        device.await_reboot("reset")
        device.await_output("my program[^$]*my program")


def test_bytecode_that_the_firmware_cannot_read_is_refused_and_source_is_taken(desk, tmp_path):
    with Device(tmp_path / "board", BOARD._replace(mpy=0x1305), link="pty") as device:
        assert desk.deploy(device) == 1
        assert "--source" in desk.err
        assert contents(device) == {}
        assert desk.deploy(device, "--source") == 0
        found = contents(device, "lib")
        assert found["lib/agent/agent.py"] == (ROOT / "agent" / "agent.py").read_bytes()
        simple = (umqtt.folder() / "umqtt" / "simple.py").read_bytes()
        assert found["lib/umqtt/simple.py"] == simple
        assert all(path.endswith(".py") for path in found)


def test_sources_that_would_come_first_are_removed(desk, device):
    assert desk.deploy(device, "--source") == 0
    old = device.folder / "agent"
    old.mkdir()
    (old / "__init__.py").write_text("raise ImportError('an old copy')\n")
    assert desk.deploy(device) == 0
    assert "removing an old copy in /agent" in desk.err
    assert "lib/agent/agent.py" not in contents(device)
    assert not old.exists()


def test_a_file_that_hides_the_agent_is_told(desk, device):
    (device.folder / "agent.py").write_text("")
    assert desk.deploy(device) == 1
    assert "/agent.py hides the agent" in desk.err


def test_running_watchdog_does_not_bite_in_the_middle_of_a_copy(desk, tmp_path):
    folder = tmp_path / "board"
    folder.mkdir()
    program = "import machine, time\ndog = machine.WDT(timeout=8000)\n"
    program += "while True:\n    dog.feed()\n    time.sleep_ms(50)\n"
    (folder / "main.py").write_text(program)
    # 4 s after Ctrl-C: the copy takes longer than that, as it does than 8 s on a board.
    with Device(folder, BOARD, link="pty", watchdog_scale=0.5) as device:
        main = desk.put("new_main.py", parcel.starter(None))
        assert desk.deploy(device, "--main", main) == 0
        assert "watchdog" not in device.reboots
        assert_deployed(device)


def test_a_program_of_the_owner_stays_until_main_replaces_it(desk, device):
    own = "from agent import Agent\nAgent('settings.json').run()  # mine\n"
    (device.folder / "main.py").write_text(own)
    assert desk.deploy(device) == 0
    assert contents(device)["main.py"].decode() == own
    assert "a program of its own" in desk.err
    newer = own.replace("mine", "newer")
    assert desk.deploy(device, "--main", desk.put("mine.py", newer)) == 0
    assert contents(device)["main.py"].decode() == newer


def test_without_settings_a_board_keeps_its_own(desk, device):
    assert desk.deploy(device) == 0
    before = contents(device)["settings.json"]
    assert desk.tools("deploy", "--port", device.port, "--wait", 20) == 0
    assert contents(device)["settings.json"] == before


def test_missing_settings_are_named_and_the_environment_gives_them(desk, device):
    assert desk.tools("deploy", "--port", device.port) == 1
    assert "HEED_NETWORK_PASSWORD" in desk.err
    assert contents(device) == {}
    for name, value in (
        ("HEED_DEVICE_ID", "from-environment"),
        ("HEED_NETWORK_SSID", "home"),
        ("HEED_NETWORK_PASSWORD", PASSWORD),
        ("HEED_DEVICEHIVE_HOST", "127.0.0.1"),
        ("HEED_DEVICEHIVE_PORT", str(desk.hub.port)),
        ("HEED_DEVICEHIVE_LOGIN", "heed"),
        ("HEED_DEVICEHIVE_PASSWORD", TOKEN),
    ):
        desk.patches.setenv(name, value)
    assert desk.tools("deploy", "--port", device.port, "--wait", 20) == 0
    assert "online as from-environment" in desk.out


def test_secrets_are_in_one_private_file_for_a_moment_and_nowhere_else(desk, device):
    secret, _ = one.files(device.port)
    seen = []

    def look():
        seen.append((secret.stat().st_mode & 0o777, secret.read_text()))

    desk.at("copying the settings", look)
    assert desk.deploy(device, "--verbose") == 0
    [(mode, text)] = seen
    assert mode == 0o600
    assert PASSWORD in text
    assert TOKEN in text
    assert not secret.exists()
    for word in (PASSWORD, TOKEN):
        assert word not in desk.out + desk.err
        assert word not in device.output


def test_a_deploy_that_is_ended_from_outside_leaves_no_secrets(desk, device):
    secret, _ = one.files(device.port)
    desk.at("copying the settings", lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert desk.deploy(device) == 130
    assert secret.parent.is_dir()
    assert not secret.exists()
    assert "waits, without a program, for the next deploy" in desk.err


def test_wrong_settings_are_told_by_the_board_before_it_starts(desk, device):
    wrong = desk.hub.settings()
    wrong["devicehive"]["keepalive"] = 1
    assert desk.deploy(device, settings=wrong) == 1
    assert "devicehive.keepalive: from 5 to 65535 seconds fit" in desk.err
    assert (device.folder / "hold").exists()
    assert desk.deploy(device) == 0


def test_cloud_that_does_not_answer_gives_the_firewall_hint(desk, device):
    away = desk.hub.settings()
    away["devicehive"]["port"] = 1
    assert desk.deploy(device, settings=away, wait=3) == 1
    assert "Wi-Fi is joined, but 127.0.0.1 does not answer on port 1" in desk.err
    assert "firewall" in desk.err


def test_refused_login_is_told(desk, device):
    wrong = desk.hub.settings()
    wrong["devicehive"]["password"] = "wrong-Secret"
    assert desk.deploy(device, settings=wrong, wait=3) == 1
    assert "login" in desk.err
    assert "wrong-Secret" not in desk.err


def test_program_that_ends_is_told_at_once(desk, device):
    main = desk.put("main.py", "import agent\nraise ValueError('no such pin')\n")
    assert desk.deploy(device, "--main", main, wait=600) == 1
    assert "its program ended: ValueError: no such pin" in desk.err


@pytest.mark.parametrize("link", ["pty", "socket"])
def test_usb_board_whose_first_lines_are_lost_is_seen_online(desk, tmp_path, link):
    with Device(tmp_path / "board", BOARD._replace(usb=True), link=link) as device:
        assert desk.deploy(device) == 0
        assert "online" in desk.out


def test_noise_of_a_start_does_not_hide_the_log(desk, tmp_path):
    # To mpremote a byte of 4 is the end of what a program prints.
    noisy = BOARD._replace(noise=b"ets\x04\xfe\x80 rst:0x1\r\n")
    with Device(tmp_path / "board", noisy, link="pty") as device:
        assert desk.deploy(device) == 0
        assert "online" in desk.out


def test_clock_is_set_to_utc_wherever_the_person_is(desk, tmp_path):
    desk.patches.setenv("TZ", "JST-9")
    main = "import time\nprint('it is', time.time())\nimport agent\nagent.Agent().run()\n"
    with Device(tmp_path / "board", BOARD._replace(keeps_time=True), link="pty") as device:
        assert desk.deploy(device, "--main", desk.put("clock.py", main)) == 0
        told = int(float(device.await_output(r"it is (\d+)")[1]))
    assert abs(told - time.time()) < 600


def test_hub_gives_address_and_credentials(desk, device, tmp_path):
    left = tmp_path / "hub.json"
    start = "import sys, pathlib; from tools import __main__ as door; from tools.deploy import "
    start += "wishes; wishes.HUB = pathlib.Path(sys.argv[1]); sys.exit(door.main(sys.argv[2:]))"
    words = ["hub", "--lan", "--host", "127.0.0.1", "--mqtt-port", "0", "--http-port", "0"]
    desk.patches.setattr("tools.deploy.wishes.HUB", left)
    assert desk.tools("deploy", "--port", device.port, "--hub") == 1
    assert "hub --lan" in desk.err
    with Child([sys.executable, "-c", start, left, *words], cwd=ROOT) as child:
        child.await_line("tools deploy --hub")
        assert left.stat().st_mode & 0o777 == 0o600
        password = json.loads(left.read_text())["password"]
        assert len(password) >= 16
        child.await_line(f'"password": "{password}"')
        network = {"network": {"ssid": "home", "password": PASSWORD}}
        settings = desk.put("half.json", {"device": {"id": "on-the-hub"}, **network})
        words = ("--port", device.port, "--hub", "--settings", settings, "--wait", 20)
        assert desk.tools("deploy", *words) == 0
        assert "online as on-the-hub" in desk.out
        assert password not in desk.out + desk.err
    assert not left.exists()


def test_port_that_is_not_there_is_told_at_once(desk):
    assert desk.tools("deploy", "--port", "/dev/ttyNothing", "--settings", desk.put("s", {})) == 1
    assert "/dev/ttyNothing can't be opened" in desk.err
    assert len(desk.err.splitlines()) == 2
