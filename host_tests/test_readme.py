"""What the README prints runs as it is printed."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.processes import Child

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def block(language):
    """The first code block of this language."""
    return re.search(rf"```{language}\n(.*?)```", README, re.S)[1]


def words(verb):
    """The words of the README's `python3 -m tools VERB ...`, as a shell would split them."""
    line = next(line for line in block("sh").splitlines() if f"tools {verb}" in line)
    python, *rest = shlex.split(line)
    assert python == "python3"
    return [sys.executable, *rest]


@pytest.fixture
def hub():
    """The hub on free ports: the standard ones may be taken on this machine."""
    with Child([*words("hub"), "--mqtt-port=0", "--http-port=0", "--json"], cwd=ROOT) as child:
        yield json.loads(child.await_line(r"^\{.*\}$", 20)[0])


def test_the_first_handler_answers_as_printed(hub, tmp_path):
    settings = json.loads(block("json"))
    assert settings["devicehive"]["port"] == 1883
    settings["devicehive"]["port"] = hub["mqtt_port"]
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "main.py").write_text(block("python"))
    agent = [
        str(tmp_path / word) if word in ("settings.json", "main.py") else word
        for word in words("agent")
    ]
    with Child(agent, cwd=ROOT) as child:
        child.await_line("online as board-1", 30)
        send = subprocess.run(
            [*words("send"), "--url", hub["rest"]], cwd=ROOT, capture_output=True, text=True
        )
        assert send.returncode == 0, send.stdout + send.stderr
        assert "succeeded" in send.stdout
        assert child.output.count("blink") >= 3


def test_the_two_commands_are_verbs_of_the_tools():
    listed = subprocess.run(
        [sys.executable, "-m", "tools"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    named = re.findall(r"^    python3 -m tools (\w+)", README, re.M)
    assert named == ["demo", "test"]
    assert all(re.search(rf"^  {verb} ", listed, re.M) for verb in named)
