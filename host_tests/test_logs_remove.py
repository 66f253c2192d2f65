"""`logs` and `remove`: what comes after a deploy, on a device side that runs what is sent."""

import pytest

from host_tests.deploy_kit import BOARD, Desk, Device, Hub, contents, remember
from tools.deploy import plan


@pytest.fixture(scope="module")
def hub():
    with Hub() as found:
        yield found


@pytest.fixture
def desk(tmp_path, hub, capsys, monkeypatch):
    return Desk(tmp_path, hub, capsys, monkeypatch)


@pytest.fixture
def device(tmp_path):
    with Device(tmp_path / "board", BOARD, link="pty") as found:
        yield found


def test_logs_reads_on_over_a_reset_and_sends_nothing(desk, tmp_path):
    folder = tmp_path / "board"
    folder.mkdir()
    program = "import machine, time\nfor n in range(20):\n    print('line', n)\n"
    program += "    time.sleep_ms(100)\nmachine.reset()\n"
    (folder / "main.py").write_text(program)
    with Device(folder, BOARD._replace(usb=True), link="pty") as device:
        device.await_output("line 3")
        assert desk.tools("logs", "--port", device.port, "--until", "line 19") == 0
        code = desk.tools("logs", "--port", device.port, "--until", "line 9", "--seconds", 20)
        assert code == 0
        assert device.blocks == []
        assert desk.tools("logs", "--port", device.port, "--until", "never", "--seconds", 1) == 1


def test_remove_takes_agent_and_credentials_and_leaves_the_journal(desk, device):
    assert desk.deploy(device) == 0
    desk.at(plan.LOOK.title, lambda: remember(device))
    assert desk.tools("remove", "--port", device.port) == 0
    assert contents(device).keys() == {"lib/umqtt/simple.mpy"}
    assert contents(device, "journal", without=())["journal/memory"] == b"kept"
    own = "print('mine')\n"
    assert desk.deploy(device, "--main", desk.put("mine.py", own), wait=0) == 0
    assert desk.tools("remove", "--port", device.port) == 0
    assert contents(device).keys() == {"lib/umqtt/simple.mpy", "main.py"}
    assert desk.tools("remove", "--port", device.port, "--all") == 0
    assert contents(device) == {}
    assert not (device.folder / "journal").exists()
