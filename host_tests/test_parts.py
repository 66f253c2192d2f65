"""`size`, part by part: what each cloud, standard command and extra takes, with and without it."""

import shutil

import pytest

from tools import footprint, size
from tools.places import ROOT


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("agent/agent.py", "core"),
        ("agent/__init__.py", "core"),
        ("agent/devicehive.py", "core"),
        ("agent/clouds/__init__.py", "core"),
        ("agent/clouds/devicehive.py", "clouds/devicehive"),
        ("agent/clouds/devicehive_commands.py", "clouds/devicehive"),
        ("agent/clouds/azure.py", "clouds/azure"),
        ("agent/standard/__init__.py", "core"),
        ("agent/standard/files.py", "standard/files"),
        ("agent/standard/wi_fi.py", "standard/wi_fi"),
        ("agent/standard/lwm2m/objects.py", "standard/lwm2m"),
        ("agent/extras/retry.py", "extras/retry"),
    ],
)
def test_each_file_belongs_to_one_part(name, part):
    assert footprint.part(name) == part


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """The files of an agent with one more cloud, of two files, and a standard command."""
    folder = tmp_path_factory.mktemp("larger")
    shutil.copytree(ROOT / "agent", folder / "agent")
    (folder / "agent/standard").mkdir(exist_ok=True)
    for name in ("clouds/other", "clouds/other_words", "standard/test_files"):
        (folder / f"agent/{name}.py").write_text(f"def run():\n    return {name!r}\n")
    return footprint.files(folder)


def test_a_cloud_is_the_sum_of_its_files_and_its_absence_leaves_the_rest(larger):
    sizes = {file.name: file.mpy for file in larger}
    found = {part.name: part for part in footprint.parts(larger)}
    other = found["clouds/other"]
    own = sizes["agent/clouds/other.py"] + sizes["agent/clouds/other_words.py"]
    assert (other.files, other.mpy) == (2, own)
    assert other.without == sum(sizes.values()) - own
    parted = sum(part.mpy for part in found.values())
    assert other.alone == sum(sizes.values()) - parted + own
    assert found["standard/test_files"].mpy == sizes["agent/standard/test_files.py"]


def test_the_project_has_a_row_for_each_cloud(larger):
    today = {part.name for part in footprint.parts(footprint.files())}
    assert "clouds/devicehive" in today
    new = {"clouds/other", "standard/test_files"}
    assert {part.name for part in footprint.parts(larger)} == today | new


def test_table_and_json_show_each_part(larger):
    from rich.console import Console

    console = Console(width=120, record=True, file=open("/dev/null", "w"))
    console.print(size._part_table(larger))
    shown = console.export_text()
    for part in footprint.parts(larger):
        row = next(line for line in shown.splitlines() if part.name in line)
        assert [cell.strip() for cell in row.strip("│").split("│")] == list(map(str, part))
    memory = footprint.Memory("none", {footprint.UMQTT: 0}, 0)
    told = size.report(larger, memory, [])["parts"]
    assert told == [part._asdict() for part in footprint.parts(larger)]
