"""The board test: on the board of --port, else on the scripted device."""

import asyncio
import os
import subprocess
import sys

import pytest

from host_tests.board_trial import Trial, Wanted
from host_tests.mosquitto import free_port
from tools.places import ROOT

CONNECT = ("--port", "socket://127.0.0.1:1", "--hub-host")


@pytest.fixture
def wanted(request, tmp_path):
    option = request.config.getoption
    if option("--port"):
        ssid, key = option("--ssid"), os.environ.get("HEED_NETWORK_PASSWORD", "")
        network = {"ssid": ssid, "password": key} if ssid else {}
        yield Wanted(option("--port"), option("--hub-host"), network, 300)
        return
    from host_tests.device import PICO_W, Device  # it needs Unix, and a board does not

    network = {"ssid": "home", "password": "wifi-Secret-1"}
    with Device(tmp_path / "board", PICO_W, unique_id=b"\xff" * 8) as device:
        yield Wanted(device.port, "127.0.0.1", network, 60)


def test_p1_p2_p3_a_board_from_its_deploy_to_a_reset_in_the_middle(wanted, tmp_path, request):
    trial = Trial(wanted, tmp_path)
    try:
        asyncio.run(trial.run())
    finally:
        # Also how far it got.
        request.config.pluginmanager.get_plugin("tally").tables.append(trial.table())


def run(*words):
    argv = [sys.executable, "-m", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_without_a_port_the_run_says_that_no_board_was_tested():
    line = "not run: the board test on a board (give --port CONNECT --hub-host ADDRESS)"
    words = ("pytest", __file__, "--collect-only", "-q")
    assert line in run(*words).stdout
    assert "not run" not in run(*words, *CONNECT, "127.0.0.1").stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--ssid", "home"), "go with --port"),
        (CONNECT[:2], "--hub-host is missing"),
        ((*CONNECT, "192.0.2.1"), "--hub-host: 192.0.2.1 is no address of this machine"),
        ((*CONNECT, "127.0.0.1", "--ssid", "home"), "--wifi-key"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(words, sentence, monkeypatch):
    monkeypatch.delenv("HEED_NETWORK_PASSWORD", raising=False)
    done = run("tools", "test", *words)
    assert done.returncode == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1


def test_with_nobody_at_the_port_it_fails_and_says_so():
    port = f"socket://127.0.0.1:{free_port()}"
    done = run("tools", "test", "--port", port, "--hub-host", "127.0.0.1")
    assert done.returncode == 1
    assert f"{port} can't be opened" in done.stdout
