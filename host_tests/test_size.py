"""`size`: its figures are those of the files and of a real agent, and its ceilings hold."""

import argparse
import json
import runpy
import shutil

import pytest

from tools import budgets, footprint, interpreters, size
from tools.places import ROOT
from tools.report import Problem


@pytest.fixture(scope="module")
def memory():
    return footprint.memory(interpreters.find(32))


@pytest.fixture
def run(memory, monkeypatch):
    """Gives run(*words): the verb as its command line runs it, the RAM measured once for all."""
    monkeypatch.setattr(footprint, "memory", lambda interpreter: memory)

    def run(*words):
        parser = argparse.ArgumentParser()
        size.add_arguments(parser)
        return size.run(parser.parse_args(words))

    return run


@pytest.fixture
def ceilings(monkeypatch):
    """Gives set(key, value): a ceiling of this test's own."""
    own = dict(budgets.CEILINGS)
    monkeypatch.setattr(budgets, "CEILINGS", own)
    return own.__setitem__


def grown(folder):
    """A copy of agent/ with a module of a hundred functions more."""
    shutil.copytree(ROOT / "agent", folder / "agent")
    (folder / "agent/more.py").write_text("".join(f"def f{n}(): return {n}\n" for n in range(100)))
    return footprint.files(folder)


def test_each_file_of_the_agent_is_there_with_its_own_lines_and_bytes():
    files = footprint.files()
    on_disk = {file.relative_to(ROOT).as_posix(): file for file in (ROOT / "agent").rglob("*.py")}
    assert {file.name for file in files} == set(on_disk)
    for file in files:
        assert file.lines == on_disk[file.name].read_bytes().count(b"\n")
        assert 0 < file.mpy_o3 <= file.mpy
    assert size.total(files, "mpy") == sum(file.mpy for file in files if file.counted)


def test_the_bytes_are_those_of_what_a_board_gets():
    from tools import bytecode

    folder = bytecode.compiled()
    for file in footprint.files():
        assert (folder / file.name).with_suffix(".mpy").stat().st_size == file.mpy


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("agent/agent.py", True),
        ("agent/mqtt.py", True),
        ("agent/clouds/__init__.py", True),
        ("agent/clouds/devicehive.py", True),
        ("agent/clouds/azure.py", False),
        ("agent/extras/retry.py", False),
        ("agent/standard/files.py", False),
    ],
)
def test_core_devicehive_and_transport_are_counted(name, counts):
    assert footprint.counted(name) is counts


def test_a_file_that_grows_is_in_the_sum(tmp_path):
    before, after = footprint.files(), grown(tmp_path)
    more = next(file for file in after if file.name == "agent/more.py")
    assert size.total(after, "mpy") == size.total(before, "mpy") + more.mpy
    assert size.total(after, "lines") == size.total(before, "lines") + 100


def test_a_file_that_grows_over_the_ceiling_is_exit_1(
    run, ceilings, monkeypatch, tmp_path, capsys
):
    files, larger = footprint.files(), grown(tmp_path)
    for key, value in size.figures(files, None).items():
        ceilings(key, value)
    ceilings("ram", 1 << 20)
    monkeypatch.setattr(footprint, "files", lambda: files)
    assert run() == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(footprint, "files", lambda: larger)
    assert run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    value, most = size.total(larger, "mpy"), budgets.BUDGETS["mpy"].most
    assert line.startswith("over its ceiling: core + DeviceHive + transport as .mpy")
    assert f"{value} bytes" in line and f"{value - most} bytes away" in line


@pytest.mark.parametrize("key", budgets.BUDGETS)
def test_every_ceiling_is_kept_to_the_byte(key, run, ceilings, memory, capsys):
    found = size.figures(footprint.files(), memory)
    for other in found:
        ceilings(other, found[other])
    assert run("--json") == 0
    ceilings(key, found[key] - 1)
    assert run("--json") == 1
    assert budgets.BUDGETS[key].what in capsys.readouterr().err
    if key != "ram":  # that one is measured by the case below
        assert [budgets.BUDGETS[key].what in line for line in size.complaints()] == [True]


def test_json_has_all_figures(run, memory, capsys):
    run("--json")
    found = json.loads(capsys.readouterr().out)
    assert found["mpy"] == sum(file["mpy"] for file in found["files"] if file["counted"])
    assert found["mpy_o3"] < found["mpy"]
    assert found["ram"]["retained"] == found["ram"]["online"] - found["ram"]["umqtt"]
    assert [row["what"] for row in found["budgets"]] == [
        one.what for one in budgets.BUDGETS.values()
    ]
    values = {row["most"]: row["value"] for row in found["budgets"]}
    assert (values[20480], values[36864]) == (found["mpy"], memory.retained)
    for row in found["budgets"]:
        assert row["met"] is (row["value"] <= row["most"])


def test_the_table_names_each_file_and_each_budget(run, memory, capsys):
    run()
    shown = capsys.readouterr().out
    for file in footprint.files():
        assert file.name in shown
    for key, value in size.figures(footprint.files(), memory).items():
        assert budgets.BUDGETS[key].what in shown and str(value) in shown


def test_an_agent_that_is_online_holds_more_than_its_modules(memory):
    assert "32-bit" in memory.interpreter
    modules = sum(memory.modules.values())
    assert memory.umqtt > 1000
    assert modules < memory.online < modules + 16384
    for name in ("asyncio", "agent.agent", "agent.clouds.devicehive", "agent.mqtt"):
        assert memory.modules[name] > 0, name


def test_each_module_is_imported_after_what_it_needs():
    loaded = ["agent", "agent.agent", "agent.clock", "agent.clouds", "agent.clouds.devicehive"]
    loaded += ["agent.command", "agent.log", "agent.mqtt", "asyncio", "asyncio.core", "umqtt"]
    order = footprint.order(loaded, ROOT)
    assert order[:3] == ["asyncio", "asyncio.core", "agent"]
    assert order[-2:] == ["umqtt.simple", "agent.mqtt"]
    assert order.index("agent.clouds") < order.index("agent.clouds.devicehive")
    assert order.index("agent.command") < order.index("agent.agent")
    assert sorted(order) == sorted([*loaded[:-1], "umqtt.simple"])


def test_an_agent_that_does_not_start_is_a_problem_with_its_words(monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('no such thing')\n")
    monkeypatch.setattr(footprint, "BOARD", broken)
    with pytest.raises(Problem, match="no such thing"):
        footprint.memory(interpreters.find(32))


def test_without_a_32_bit_micropython_check_measures_the_rest(ceilings, monkeypatch, capsys):
    def none(bits):
        raise Problem("there is none")

    monkeypatch.setattr(interpreters, "find", none)
    monkeypatch.delenv("CI", raising=False)
    for key in budgets.BUDGETS:
        ceilings(key, 1)
    rest = [one.what for key, one in budgets.BUDGETS.items() if key != "ram"]
    for line, what in zip(size.complaints(), rest, strict=True):
        assert line.startswith(what)
    assert "RAM is not measured: there is none" in capsys.readouterr().err
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Problem, match="there is none"):
        size.complaints()


def test_a_ceiling_is_two_percent_above_or_the_budget_where_that_is_met():
    assert budgets.ceiling("mpy", 30001) == 30602
    assert budgets.ceiling("mpy", 15000) == 20480
    assert budgets.ceiling("runner", 249) == 249
    assert budgets.ceiling("runner", 250) == 255


def test_ceilings_are_written_into_the_table(tmp_path):
    file = tmp_path / "budgets.py"
    shutil.copyfile(budgets.HERE, file)
    changed = budgets.set_ceilings({"mpy": 40000, "file": 10}, file)
    assert changed["mpy"] == (budgets.CEILINGS["mpy"], 40800)
    written = runpy.run_path(str(file))["CEILINGS"]
    assert written == {**budgets.CEILINGS, "mpy": 40800, "file": 400}


def test_no_ceiling_is_below_its_budget():
    assert set(budgets.CEILINGS) == set(budgets.BUDGETS)
    for key, budget in budgets.BUDGETS.items():
        assert budgets.CEILINGS[key] >= budget.most
