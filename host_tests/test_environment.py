"""The set-up of the tools' own environment: once, whole, and only where it is theirs to make."""

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from tools import __main__ as door
from tools import environment
from tools.places import ROOT
from tools.report import Problem

# A verb that tells where it runs.
PROBE = """
import sys

def add_arguments(parser):
    parser.add_argument("--exit", type=int, default=0)

def run(args):
    print(sys.prefix)
    return args.exit
"""


class Checkout:
    """A copy of what sets up, with one verb, `send`, and nothing to install."""

    def __init__(self, folder):
        self.folder, self.environment = folder, folder / ".venv"
        self.stamp = self.environment / "heed-stamp"
        (folder / "tools").mkdir()
        for name in ("__init__", "__main__", "environment", "places", "report"):
            shutil.copy(ROOT / f"tools/{name}.py", folder / "tools")
        (folder / "tools/send.py").write_text(PROBE)
        self.requirements = folder / "tools/requirements.txt"
        self.requirements.write_text("# nothing\n")

    def start(self, *words, **env):
        """Runs the tools; `PIP_` settings given here stand instead of the machine's."""
        argv = [sys.executable, "-m", "tools", *words]
        return subprocess.Popen(
            argv,
            cwd=self.folder,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words, **env):
        process = self.start(*words, **env)
        out, err = process.communicate()
        return process.returncode, out.strip(), err.strip()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_two_first_starts_at_once_make_one_environment(checkout):
    both = [checkout.start("send", "--exit", "3") for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [3, 3]
    assert [out.strip() for out, _ in outputs] == [str(checkout.environment)] * 2
    assert "".join(err for _, err in outputs).count("setting up") == 1
    # And the next start has nothing to do.
    assert checkout.run("send") == (0, str(checkout.environment), "")


def test_interrupted_set_up_is_begun_again(checkout):
    checkout.environment.mkdir()
    checkout.stamp.write_text("unfinished")
    half = checkout.environment / "half-written"
    half.touch()
    code, out, _ = checkout.run("send")
    assert (code, out) == (0, str(checkout.environment))
    assert not half.exists()


def test_network_gone_is_one_sentence_and_leaves_no_stamp(checkout):
    checkout.requirements.write_text("no-such-package==1\n")
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
    nowhere |= {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    code, out, err = checkout.run("send", **nowhere)
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    sentence = err.splitlines()[-1]
    assert sentence.startswith("The packages could not be installed; is the network there?")
    assert "no-such-package" in sentence
    assert checkout.stamp.read_text() == "unfinished"


def test_environment_of_somebody_else_is_left_alone(checkout):
    checkout.environment.mkdir()
    theirs = checkout.environment / "pyvenv.cfg"
    theirs.write_text("theirs")
    code, _, err = checkout.run("send")
    assert code == 1
    assert "was not made by these tools" in err
    assert theirs.read_text() == "theirs"


def test_help_and_wrong_words_need_no_environment(checkout):
    code, out, _ = checkout.run()
    assert code == 0
    assert all(verb in out for verb in door.VERBS)
    assert checkout.run("send", "--help")[0] == 0
    code, _, err = checkout.run("sned")
    assert code == 2
    assert err.splitlines() == ["no verb 'sned'; there are: " + ", ".join(door.VERBS)]
    assert checkout.run("send", "--no-such-word")[0] == 2
    assert not checkout.environment.exists()


def test_old_python_is_told_what_is_needed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert door.main(["test"]) == 1
    said = capsys.readouterr().out
    assert said == "These tools need Python 3.10 or newer; this is 3.9.\n"


def test_python_without_venv_is_told_what_to_install(monkeypatch):
    present = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else present(name)
    )
    with pytest.raises(Problem, match=r"sudo apt install python3\.\d+-venv"):
        environment._make_venv()


def test_changed_requirements_make_another_stamp(monkeypatch, tmp_path):
    before = environment._stamp()
    changed = tmp_path / "requirements.txt"
    changed.write_text("another==1\n")
    monkeypatch.setattr(environment, "REQUIREMENTS", changed)
    assert environment._stamp() != before


def test_extras_are_pinned_in_the_same_file():
    assert environment.pinned("esp32")[0].startswith("micropython-esp32-stubs==")
    assert environment.pinned("nothing") == []
