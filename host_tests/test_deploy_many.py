"""`deploy` to many boards at once: rows of a fleet, bars, and a summary."""

import json

import pytest

from host_tests.deploy_kit import BOARD, PASSWORD, TOKEN, Desk, Device, Hub, contents

TABLE = "id,name,password\nleft,Left one,{0}\nright,Right one,{0}\n"


@pytest.fixture(scope="module")
def hub():
    with Hub() as found:
        yield found


@pytest.fixture
def desk(tmp_path, hub, capsys, monkeypatch):
    return Desk(tmp_path, hub, capsys, monkeypatch)


@pytest.fixture
def pair(tmp_path):
    one = Device(tmp_path / "one", BOARD, link="pty", unique_id=b"board--1")
    two = Device(tmp_path / "two", BOARD, link="pty", unique_id=b"board--2")
    with one, two:
        yield one, two


def words(desk, pair):
    settings = desk.hub.settings()
    del settings["device"]
    del settings["devicehive"]["password"]
    common = ("--settings", desk.put("shared.json", settings), "--wait", 20)
    ports = [word for device in pair for word in ("--port", device.port)]
    return ("deploy", *ports, *common, "--fleet", desk.put("devices.csv", TABLE.format(TOKEN)))


def ids(pair):
    return [json.loads(contents(device)["settings.json"])["device"]["id"] for device in pair]


def test_each_board_gets_a_row_of_its_own_and_a_later_run_finds_them_done(desk, pair):
    assert desk.tools(*words(desk, pair)) == 0
    assert sorted(ids(pair)) == ["left", "right"]
    assert "2 of 2 boards" in desk.out
    assert "online as left" in desk.out
    assert "online as right" in desk.out
    claims = (desk.folder / "devices.csv.claims").read_text()
    assert {each["id"] for each in json.loads(claims).values()} == {"left", "right"}
    for secret in (TOKEN, PASSWORD):
        assert secret not in claims + desk.out + desk.err

    starts = [len(device.reboots) for device in pair]
    before = ids(pair)
    assert desk.tools(*words(desk, pair)) == 0
    assert desk.out.count("done earlier") == 2
    assert ids(pair) == before
    for device, count in zip(pair, starts, strict=True):
        device.await_reboot("reset", start=count)
        assert (device.folder / "main.py").exists()


def test_a_board_that_failed_goes_on_with_its_row(desk, pair):
    two = pair[1]
    desk.at("copying the agent", lambda: two.cut_at(5), port=two.port)
    assert desk.tools(*words(desk, pair)) == 1
    assert "1 of 2 boards" in desk.out
    assert "FAILED" in desk.out
    [claimed] = [each for each in claims(desk) if not each["online"]]
    assert desk.tools(*words(desk, pair)) == 0
    assert "done earlier" in desk.out
    assert ids([two]) == [claimed["id"]]
    assert sorted(ids(pair)) == ["left", "right"]


def claims(desk):
    return json.loads((desk.folder / "devices.csv.claims").read_text()).values()


def test_two_boards_of_one_serial_number_get_one_row(desk, tmp_path):
    one = Device(tmp_path / "one", BOARD, link="pty")
    two = Device(tmp_path / "two", BOARD, link="pty")
    with one, two:
        assert desk.tools(*words(desk, (one, two))) == 1
        assert "two boards have the serial number" in desk.out.replace("\n", " ")
        assert len(claims(desk)) == 1
        refused = two if (one.folder / "settings.json").exists() else one
        assert contents(refused) == {}


def test_one_id_for_several_boards_is_refused_before_anything_is_sent(desk, pair):
    ports = [word for device in pair for word in ("--port", device.port)]
    file = desk.put("settings.json", desk.hub.settings())
    assert desk.tools("deploy", *ports, "--settings", file) == 2
    assert "--fleet" in desk.err
    assert all(device.blocks == [] for device in pair)


def test_all_is_every_usb_board(desk, pair):
    from tools.deploy import ports

    found = [ports.Port(device.port, "") for device in pair]
    desk.patches.setattr(ports, "attached", lambda: found)
    assert desk.tools("remove", "--port", "all") == 0
    assert desk.out.count("there was no agent") == 2
