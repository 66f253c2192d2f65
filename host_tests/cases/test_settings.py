"""The settings: complete, checked, and told about in one go."""

import json
import os

from agent import SettingsError
from agent.settings import check, read

GOOD = {
    "device": {"id": "dev-1"},
    "devicehive": {"host": "h", "login": "l", "password": "hush-hush"},
}


def changed(**sections):
    settings = json.loads(json.dumps(GOOD))
    for name, section in sections.items():
        if isinstance(section, dict) and name in settings:
            settings[name].update(section)
        else:
            settings[name] = section
    return settings


def complaint(settings):
    try:
        check(settings)
    except SettingsError as e:
        return str(e)
    return None


def test_what_is_left_out_has_a_default():
    settings = check(GOOD)
    assert settings["devicehive"]["port"] == 1883
    assert settings["limits"]["queue"] == 8
    assert settings["network"]["ssid"] == ""
    assert settings["progress"] is False


def test_every_problem_is_told_at_once_with_its_key_and_what_fits():
    text = complaint(
        changed(
            device={"id": 5},
            devicehive={"host": "", "port": "1883", "prot": 1},
            limits={"queue": -1},
            colour="red",
        )
    )
    for part in (
        "device.id: 5 came, a string fits",
        "devicehive.host is empty",
        "devicehive.port: '1883' came, an integer fits",
        "devicehive.prot is not a setting; there is: ca,",
        "limits.queue: -1 came, an integer from 0 fits",
        "colour is not a setting",
    ):
        assert part in text, (part, text)


def test_what_is_missing_is_named():
    assert "device.id is missing" in complaint({"devicehive": GOOD["devicehive"]})
    text = complaint({"device": {"id": "d"}, "devicehive": {"host": "h"}})
    assert text == "devicehive: give login and password, or refresh_token"
    assert "cloud: 'aws' came" in complaint(changed(cloud="aws"))
    assert "network: an object fits" in complaint(changed(network="my wifi"))
    assert "devicehive.ca" in complaint(changed(devicehive={"tls": True}))
    assert complaint(changed(devicehive={"tls": True, "ca": "ca.der"})) is None


def test_a_device_id_that_devicehive_would_refuse_is_refused_here():
    for id in ("my pump", "d/1", "d" * 49):
        assert "device.id" in complaint(changed(device={"id": id}))


def test_secrets_never_appear_in_a_complaint():
    for wrong in ({"password": ["hush-hush"]}, {"refresh_token": {"hush-hush": 1}}):
        text = complaint(changed(devicehive=wrong))
        assert text and "hush" not in text
    text = complaint(changed(network={"password": 12345678}))
    assert text and "12345678" not in text


def written(text):
    with open("settings-under-test.json", "w") as file:
        file.write(text)
    try:
        return read("settings-under-test.json")
    except SettingsError as e:
        return str(e)
    finally:
        os.remove("settings-under-test.json")


def test_a_file_is_read_or_its_fault_is_told():
    assert written('{"device": {}}') == {"device": {}}
    assert "is not JSON" in written("{device")
    assert "no JSON object" in written("[1]")
    try:
        read("there-is-no-such.json")
    except SettingsError as e:
        assert "there is no settings file there-is-no-such.json" in str(e)
    else:
        raise AssertionError("read what is not there")
