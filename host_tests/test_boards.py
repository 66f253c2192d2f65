"""The facts of the boards: read whole, told in one sentence when wrong, and in step with the pages."""

import json
import re
import shutil

import pytest

from tools import boards
from tools.places import ROOT
from tools.report import Problem

NAMES = ["ESP32_GENERIC", "ESP32_GENERIC_C3", "ESP32_GENERIC_S3", "RPI_PICO2_W", "RPI_PICO_W"]


@pytest.fixture
def folder(tmp_path):
    """A folder of two boards, a copy of the project's."""
    for name in ("ESP32_GENERIC", "RPI_PICO_W"):
        shutil.copytree(boards.FOLDER / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def change(folder):
    """Gives change(fact=value): the facts of the folder's Pico W with some of them changed."""
    file = folder / "RPI_PICO_W/board.json"

    def change(**changes):
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def test_the_boards_of_the_project():
    assert boards.names() == NAMES
    assert boards.complaints() == []
    for name in NAMES:
        assert set(boards.load(name)) == set(boards.FACTS)


def test_facts_of_a_board_as_the_tools_get_them():
    pico, esp = boards.load("RPI_PICO_W"), boards.load("ESP32_GENERIC")
    assert (pico["port"], pico["epoch"], pico["watchdog_ms"]) == ("rp2", 1970, 8388)
    assert (pico["led"], pico["umqtt_frozen"]) == ({"pin": "LED", "active": 1}, False)
    assert (esp["port"], esp["epoch"], esp["umqtt_frozen"]) == ("esp32", 2000, True)


def test_an_agents_default_watchdog_fits_every_board():
    from agent import settings

    _, timeout_ms = settings.SPECIFICATION["watchdog"]["timeout_ms"]
    assert all(timeout_ms <= boards.load(name)["watchdog_ms"] for name in NAMES)


def test_power_words_are_those_of_the_settings():
    from agent import settings

    fits, _ = settings.SPECIFICATION["network"]["power"]
    assert set(boards.POWER) == {None, *fits}


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("Raspberry Pi Pico W with RP2040", "RPI_PICO_W"),
        ("Raspberry Pi Pico 2 W with RP2350", "RPI_PICO2_W"),
        ("Generic ESP32 module with ESP32", "ESP32_GENERIC"),
        ("Generic ESP32 module with SPIRAM with ESP32", "ESP32_GENERIC"),
        ("Generic ESP32 module with ESP32-D2WD", "ESP32_GENERIC"),
        ("ESP32C3 module with ESP32C3", "ESP32_GENERIC_C3"),
        ("Generic ESP32S3 module with Octal-SPIRAM with ESP32S3", "ESP32_GENERIC_S3"),
        ("Raspberry Pi Pico with RP2040", None),
        ("Raspberry Pi Pico Wide with RP2040", None),
        ("LOLIN_C3_MINI with ESP32-C3FH4", None),
        ("Generic ESP32S2 module with ESP32S2", None),
        ("linux [GCC 14.2.0] version", None),
        ("", None),
    ],
)
def test_a_board_is_known_by_what_its_firmware_says(machine, name):
    assert boards.guess(machine) == name


def test_a_board_that_is_not_there_is_told_with_those_that_are(folder):
    for name in ("PICO", "", "../boards/RPI_PICO_W", "rpi_pico_w"):
        with pytest.raises(Problem, match="there are: ESP32_GENERIC, RPI_PICO_W") as told:
            boards.load(name, folder)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("fact", boards.FACTS)
def test_a_fact_that_is_missing_is_told_with_what_fits(fact, folder):
    file = folder / "RPI_PICO_W/board.json"
    facts = json.loads(file.read_text())
    del facts[fact]
    file.write_text(json.dumps(facts))
    sentence = f"boards/RPI_PICO_W/board.json: {fact} is missing: {boards.FACTS[fact][1]}"
    with pytest.raises(Problem, match=re.escape(sentence)):
        boards.load("RPI_PICO_W", folder)
    assert boards.complaints(folder) == [sentence]


@pytest.mark.parametrize(
    ("fact", "values"),
    [
        ("mcu", ["", 4, None]),
        ("port", ["pico", 1, None, ["rp2"]]),
        ("machine", ["", None]),
        ("firmware", [" ", None]),
        ("led", ["LED", 2, {"pin": 2}, {"pin": True, "active": 1}, {"pin": 2, "active": 2}]),
        ("led", [{"pin": -1, "active": 0}, {"pin": "", "active": 0}, {"pin": 2, "active": True}]),
        ("watchdog_ms", [0, -1, None, True, 8388.0, "8388"]),
        ("umqtt_frozen", [0, "no", None]),
        ("heap", [0, "190 KB", False]),
        ("pm", ["off", 0, "", {}]),
        ("epoch", [1900, "1970", True, None]),
        ("flash", [0, None, "848K"]),
    ],
)
def test_a_fact_that_does_not_fit_is_told_with_what_does(fact, values, folder, change):
    for value in values:
        change(**{fact: value})
        (complaint,) = boards.complaints(folder)
        came = json.dumps(value)
        told = f"board.json: {fact}: {came} came, {boards.FACTS[fact][1]} fits"
        assert complaint == "boards/RPI_PICO_W/" + told
        with pytest.raises(Problem, match=re.escape(told)):
            boards.load("RPI_PICO_W", folder)


@pytest.mark.parametrize(
    ("fact", "value"),
    [("led", None), ("led", {"pin": 0, "active": 0}), ("heap", None), ("pm", None)],
)
def test_a_fact_that_nobody_knows_may_be_null(fact, value, folder, change):
    change(**{fact: value})
    assert boards.complaints(folder) == []
    assert boards.load("RPI_PICO_W", folder)[fact] == value


def test_a_fact_that_is_none_is_told(folder, change):
    change(colour="green")
    (complaint,) = boards.complaints(folder)
    assert complaint.startswith("boards/RPI_PICO_W/board.json: colour is no fact; there are: mcu")


@pytest.mark.parametrize("text", ["{", "", "[]", "3"])
def test_a_file_that_holds_no_facts_is_told(text, folder):
    (folder / "RPI_PICO_W/board.json").write_text(text)
    (complaint,) = boards.complaints(folder)
    assert complaint.startswith("boards/RPI_PICO_W/board.json")
    with pytest.raises(Problem, match=r"boards/RPI_PICO_W/board\.json"):
        boards.load("RPI_PICO_W", folder)


def test_a_board_without_one_of_its_files_is_told(folder):
    for file in ("board.json", "manifest.py", "README.md"):
        (folder / "RPI_PICO_W" / file).unlink()
    told = [f"boards/RPI_PICO_W: {file} is missing" for file in ("board.json", "manifest.py")]
    assert boards.complaints(folder) == [*told, "boards/RPI_PICO_W: README.md is missing"]


def test_two_boards_of_one_name_are_told(folder, change):
    change(machine="Generic ESP32 module")
    (complaint,) = boards.complaints(folder)
    assert complaint == "boards/RPI_PICO_W/board.json: machine is ESP32_GENERIC's, too"


def test_the_page_about_boards_agrees_with_the_facts():
    text = (ROOT / "boards/README.md").read_text()
    for name in NAMES:
        facts = boards.load(name)
        row = re.search(rf"^\| \[{name}\]\({name}/README.md\) \|(.*)$", text, re.M)[1]
        umqtt, epoch, watchdog, _ = (cell.strip() for cell in row.strip("|").split("|"))
        assert umqtt == ("yes" if facts["umqtt_frozen"] else "no")
        assert int(epoch) == facts["epoch"]
        assert watchdog == ("any" if facts["port"] == "esp32" else f"{facts['watchdog_ms']} ms")
    for fact in boards.FACTS:
        assert f"`{fact}`" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_boards_page_says_what_was_not_seen(name):
    assert "nothing yet" in (boards.FOLDER / name / "README.md").read_text()
