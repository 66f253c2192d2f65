"""A fleet's table: each board claims a row of its own, once and for all."""

import json

import pytest

from tools.deploy import fleet
from tools.deploy.fleet import Fleet
from tools.report import Problem

TABLE = "id,name,login,password,serial\n"


def table(tmp_path, rows, head=TABLE):
    file = tmp_path / "devices.csv"
    file.write_text(head + rows)
    return file


def test_each_board_claims_a_row_and_finds_it_again(tmp_path):
    file = table(tmp_path, "a,A,la,pa,\nb,B,lb,pb,\n")
    first = Fleet(file)
    row = first.claim("s1")
    assert row.settings == {
        "device": {"id": "a", "name": "A"},
        "devicehive": {"login": "la", "password": "pa"},
    }
    assert first.claim("s2").id == "b"
    first.finish("s1", row)
    claims = (tmp_path / "devices.csv.claims").read_text()
    assert json.loads(claims) == {
        "s1": {"id": "a", "online": True},
        "s2": {"id": "b", "online": False},
    }
    assert "pa" not in claims
    second = Fleet(file)
    assert second.claim("s2").id == "b"  # it goes on where it stopped
    assert second.claim("s1") is None  # it is done
    assert Fleet(file, again=True).claim("s1").id == "a"
    with pytest.raises(Problem, match="no row left for board s3"):
        second.claim("s3")


def test_second_board_of_the_same_number_is_refused(tmp_path):
    boards = Fleet(table(tmp_path, "a,,,,\nb,,,,\n"))
    boards.claim("s1")
    with pytest.raises(Problem, match="two boards have the serial number s1"):
        boards.claim("s1")
    with pytest.raises(Problem, match="no serial number"):
        boards.claim("")


def test_row_with_a_serial_number_is_for_that_board_alone(tmp_path):
    file = table(tmp_path, "a,,,,E6:61\nb,,,,\n")
    assert Fleet(file).claim("s1").id == "b"
    assert Fleet(file).claim("e661").id == "a"


def test_row_that_another_board_has_claimed_is_not_given_twice(tmp_path):
    Fleet(table(tmp_path, "a,,,,\n")).claim("s1")
    with pytest.raises(Problem, match="belongs to another board"):
        Fleet(table(tmp_path, "a,,,,s2\n")).claim("s2")
    with pytest.raises(Problem, match="has claimed a, which is not in"):
        Fleet(table(tmp_path, "b,,,,\n")).claim("s1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TABLE + "a,,,,\na,,,,\n", "the id a is there more than once"),
        (TABLE + "a,,,,1\nb,,,,1\n", "the serial 1 is there more than once"),
        (TABLE, "has no rows"),
        (TABLE + ",x,,,\n", "line 2: no id"),
        (TABLE + "a,,,,,z\n", "line 2: more values than columns"),
        ("name\nx\n", "the column id is missing"),
        ("id,colour\nx,y\n", "'colour' is no column"),
    ],
)
def test_table_that_cannot_be_used(tmp_path, text, says):
    with pytest.raises(Problem, match=says) as caught:
        fleet.read(table(tmp_path, text, head=""))
    assert caught.value.code == 2


def test_serial_number_is_the_chips_own_where_it_has_one():
    assert fleet.serial("E6616408431A2B3C", "e6616408431a2b3c") == "e6616408431a2b3c"
    assert fleet.serial("0001", "7cdfa1b2c3d4") == "7cdfa1b2c3d4"  # an adapter's
    assert fleet.serial("E661", "ffffffffffffffff") == "e661"  # an emulated board's
    assert fleet.serial("", "0000") == ""
