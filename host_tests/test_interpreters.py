"""Which MicroPython the tools choose, and what they refuse."""

import pytest

from tools import interpreters
from tools.report import Problem


@pytest.fixture
def make(tmp_path):
    """Gives make(name, bits, version): a program that answers as that MicroPython would."""

    def program(name="micropython", bits=32, version=(1, 25, 0), kind="micropython"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        answer = (kind, version, (1 << (bits - 1)) - 1)
        file.write_text(f'#!/bin/sh\necho "{answer}"\n')
        file.chmod(0o755)
        return str(file)

    return program


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.delenv("MICROPYTHON", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(interpreters, "fetch", lambda bits: f"fetched {bits}")


def test_real_interpreters_have_the_words_asked_for(monkeypatch):
    monkeypatch.undo()
    for bits in (32, 64):
        found = interpreters.find(bits)
        assert found.bits == bits
        assert found.version >= "1.24"


def test_explicit_path_comes_first(make, monkeypatch):
    monkeypatch.setenv("MICROPYTHON", make("environment"))
    assert interpreters.find(path=make("explicit")).command == [make("explicit")]


def test_environment_comes_before_path(make, monkeypatch):
    monkeypatch.setenv("MICROPYTHON", make("environment"))
    make("bin/micropython")
    assert interpreters.find().command == [make("environment")]


def test_path_comes_before_the_cache(make):
    on_path = make("bin/micropython")
    assert interpreters.find(32).command == [on_path]


def test_other_word_size_on_path_goes_on_to_the_cache(make):
    make("bin/micropython", bits=64)
    assert interpreters.find(32) == "fetched 32"


def test_explicit_path_of_other_word_size_is_refused(make):
    with pytest.raises(Problem, match="64-bit words"):
        interpreters.find(32, path=make(bits=64))


def test_without_a_wish_32_bit_is_fetched():
    assert interpreters.find() == "fetched 32"


def test_without_a_wish_64_bit_will_do_where_there_is_no_32_bit(monkeypatch):
    def fetch(bits):
        if bits == 32:
            raise Problem("not for this machine")
        return "fetched 64"

    monkeypatch.setattr(interpreters, "fetch", fetch)
    assert interpreters.find() == "fetched 64"


def test_old_version_is_refused_with_the_reason(make):
    with pytest.raises(Problem, match=r"is MicroPython 1\.23\.0; the agent needs 1\.24"):
        interpreters.find(path=make(version=(1, 23, 0)))


def test_old_version_on_path_is_passed_over_and_said(make, capsys):
    make("bin/micropython", version=(1, 22, 1))
    assert interpreters.find(32) == "fetched 32"
    assert "passed over" in capsys.readouterr().err


def test_other_programs_are_refused(make):
    with pytest.raises(Problem, match="is cpython, not MicroPython"):
        interpreters.find(path=make(kind="cpython"))
    with pytest.raises(Problem, match="does not answer like MicroPython"):
        interpreters.find(path="/bin/true")
    with pytest.raises(Problem, match="does not start: No such file"):
        interpreters.find(path="/no/such/program")


def test_argv_carries_the_heap():
    found = interpreters.Interpreter(["loader", "micropython"], 32, "1.25.0")
    assert found.argv("x.py", heap="96k") == [
        "loader",
        "micropython",
        "-X",
        "heapsize=96k",
        "x.py",
    ]
    assert found.argv("-c", "1") == ["loader", "micropython", "-c", "1"]
