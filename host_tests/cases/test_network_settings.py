"""The settings of the network: lists, choices, and passwords that nobody gets to see."""

from agent import SettingsError
from agent.settings import check

DEVICEHIVE = {"host": "h", "login": "l", "password": "p"}


def checked(**network):
    return check({"device": {"id": "d"}, "devicehive": DEVICEHIVE, "network": network})["network"]


def complaint(**network):
    try:
        checked(**network)
    except SettingsError as e:
        return str(e)
    return None


def test_the_defaults_leave_the_radio_alone_and_know_where_to_ask_for_the_time():
    settings = checked()
    assert settings["known"] == [] and settings["power"] == ""
    assert settings["ntp"] == ["pool.ntp.org", "time.cloudflare.com"]


def test_what_fits_is_taken():
    settings = checked(
        known=[{"ssid": "barn", "password": "p"}, {"ssid": "open"}],
        power="powersave",
        ntp=["10.0.0.1:1230"],
    )
    assert settings["known"] == [
        {"ssid": "barn", "password": "p"},
        {"ssid": "open", "password": ""},
    ]
    assert settings["power"] == "powersave"
    assert settings["ntp"] == ["10.0.0.1:1230"]
    assert checked(ntp=[])["ntp"] == []
    assert checked(power="")["power"] == ""


def test_what_does_not_fit_is_told_with_its_path():
    text = complaint(
        known=[{"ssid": "barn", "key": "p"}, {"password": "p"}, "open"],
        power="max",
        ntp=["pool", 5, "", None],
    )
    for part in (
        "network.known[0].key is not a setting; there is: password, ssid",
        "network.known[1].ssid is missing: a string fits",
        "network.known[2]: an object fits, not str",
        "network.power: 'max' came, one of these fits: performance, powersave, none",
        "network.ntp[1]: 5 came, a string fits",
        "network.ntp[2] is empty",
        "network.ntp[3] is missing: a string fits",
    ):
        assert part in text, (part, text)
    assert "network.ntp: a list fits, not str" in complaint(ntp="pool.ntp.org")
    assert "network.known: a list fits, not dict" in complaint(known={"ssid": "barn"})
    assert "network.power" in complaint(power=["none"])


def test_passwords_of_known_networks_never_appear_in_a_complaint():
    for known in (
        [{"ssid": "barn", "password": ["hush-hush"]}],
        [{"ssid": "barn", "password": {"hush-hush": 1}}],
        [["barn", "hush-hush"]],
        ["hush-hush"],
        {"barn": "hush-hush"},
        "hush-hush",
    ):
        text = complaint(known=known)
        assert text and "hush" not in text, text
