"""`agent`: how a program is laid out and run on the unix port."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from host_tests.processes import Child
from tools import agent, bytecode, interpreters
from tools.places import CACHE, ROOT

TELLS = """
import gc, json, sys
import umqtt.simple
print("path", json.dumps(sys.path))
print("heap", gc.mem_free() + gc.mem_alloc())
print("device", json.load(open("settings.json"))["device"]["id"])
sys.exit(7)
"""
WAITS = """
import time
print("up")
while True:
    time.sleep(0.01)
"""


def settings(folder, name):
    file = folder / "given.json"
    file.write_text(json.dumps({"device": {"id": name}}))
    return file


def program(folder, text):
    file = folder / "given.py"
    file.write_text(text)
    return file


def test_launch_lays_out_a_boards_file_system(tmp_path):
    plan = agent.launch({"device": {"id": "d1"}}, program(tmp_path, TELLS), tmp_path / "d1")
    done = subprocess.run(plan.argv, cwd=plan.cwd, env=plan.env, capture_output=True, text=True)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert done.returncode == 7, done.stdout + done.stderr
    assert said["device"] == "d1"
    paths = [str(tmp_path / "d1"), str(bytecode.compiled()), ".frozen"]
    assert json.loads(said["path"])[1:] == paths
    assert 80_000 < int(said["heap"]) <= 96 * 1024


def test_settings_that_are_gone_do_not_stay_from_the_run_before(tmp_path):
    main, folder = program(tmp_path, TELLS), tmp_path / "d1"
    agent.launch(settings(tmp_path, "d1"), main, folder)
    assert (folder / "settings.json").exists()
    agent.launch(tmp_path / "missing.json", main, folder)
    assert not (folder / "settings.json").exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('{"device": {"id": "pico-1"}}', "pico-1"),
        ('{"device": {"id": "../a b"}}', "___a_b"),
        ('{"device": {"id": ""}}', "agent"),
        ('{"device": 3}', "agent"),
        ("not JSON", "agent"),
    ],
)
def test_folder_is_named_after_the_device(tmp_path, text, name):
    (tmp_path / "s.json").write_text(text)
    assert agent.device_name(tmp_path / "s.json") == name


@pytest.fixture
def named():
    """Gives named(word): a device's id; the folders that runs made for such ids go in the end."""
    names = []

    def name(word):
        names.append(f"test-{os.getpid()}-{word}")
        return names[-1]

    yield name
    for each in names:
        shutil.rmtree(CACHE / "agents" / each, ignore_errors=True)


def tool(*words):
    return Child([sys.executable, "-m", "tools", "agent", *map(str, words)], cwd=ROOT)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--heap", "many"], "--heap wants a size like 96k or 1m, not 'many'"),
        (["--main", "no/such.py"], "--main: there is no file no/such.py"),
    ],
)
def test_wrong_words_are_one_line_and_exit_2(tmp_path, words, sentence):
    main = program(tmp_path, TELLS)
    with tool("--settings", settings(tmp_path, "d1"), "--main", main, *words) as child:
        assert child.wait() == 2
        assert child.lines == [sentence]


def test_exit_code_is_the_agents(tmp_path, named):
    name = named("exit")
    words = ("--settings", settings(tmp_path, name), "--main", program(tmp_path, TELLS))
    with tool(*words) as child:
        assert child.wait() == 7
        assert f"device {name}" in child.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_ends_the_agent_quietly(tmp_path, number, named):
    name = named(f"interrupt-{number}")
    words = ("--settings", settings(tmp_path, name), "--main", program(tmp_path, WAITS))
    with tool(*words) as child:
        child.await_line("^up$")
        child._process.send_signal(number)
        # The output ends with the last process that holds it: the agent is gone, too.
        assert child.wait() == 130
        assert not child._reader.is_alive()
        assert child.lines == ["up"]
    assert (CACHE / "agents" / name).is_dir()


def test_interpreter_can_be_chosen(tmp_path):
    chosen = interpreters.find(64)
    plan = agent.launch({}, program(tmp_path, TELLS), tmp_path / "d1", "1m", chosen)
    assert plan.argv == [*chosen.command, "-X", "heapsize=1m", "main.py"]
