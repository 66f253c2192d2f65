"""The parts of `deploy` that need no board: ports, settings, fleets, and what a log means."""

import re
import subprocess

import pytest

from tools.agent import STARTER
from tools.deploy import dry, line, log, one, parcel, plan, ports, removal, wishes
from tools.deploy.line import Away, Closed, Line, Step
from tools.deploy.plan import Found, Order
from tools.deploy.ports import Port
from tools.report import Problem


def plugged(patches, *found):
    patches.setattr(ports, "attached", lambda: sorted(found))


# Ports


def test_auto_is_the_one_board_by_its_serial_number(monkeypatch):
    plugged(monkeypatch, Port("/dev/ttyACM0", "E661"))
    assert ports.find(["auto"]) == ["id:E661"]


def test_auto_refuses_to_choose_and_tells_when_there_is_none(monkeypatch):
    plugged(monkeypatch)
    with pytest.raises(Problem, match="no board found"):
        ports.find(["auto"])
    with pytest.raises(Problem, match="no board found"):
        ports.find(["all"])
    plugged(monkeypatch, Port("/dev/ttyACM0", "E661"), Port("/dev/ttyACM1", ""))
    with pytest.raises(Problem, match="id:E661, /dev/ttyACM1"):
        ports.find(["auto"])
    assert ports.find(["all"]) == ["id:E661", "/dev/ttyACM1"]


def test_boards_whose_adapters_have_the_same_number_go_by_their_device_files(monkeypatch):
    plugged(monkeypatch, Port("/dev/ttyUSB0", "0001"), Port("/dev/ttyUSB1", "0001"))
    assert ports.find(["all"]) == ["/dev/ttyUSB0", "/dev/ttyUSB1"]


def test_a_port_named_twice_is_refused():
    with pytest.raises(Problem, match="more than once"):
        ports.find(["a", "b", "a"])


def test_log_opens_what_mpremote_connects_to(monkeypatch):
    plugged(monkeypatch, Port("/dev/ttyACM3", "E661"))
    assert ports.device("id:E661") == "/dev/ttyACM3"
    assert ports.device("port:/dev/x") == "/dev/x"
    assert ports.device("socket://127.0.0.1:1") == "socket://127.0.0.1:1"
    with pytest.raises(OSError, match="E662"):
        ports.device("id:E662")


def test_dry_run_names_the_board_that_is_there_or_the_word(monkeypatch):
    plugged(monkeypatch)
    assert dry.connects(["auto"]) == ["auto"]
    plugged(monkeypatch, Port("/dev/ttyACM0", "E661"))
    assert dry.connects(["auto"]) == ["id:E661"]


# Settings


def test_later_parts_win_key_by_key():
    first = {"device": {"id": "a", "name": "n"}, "cloud": "devicehive"}
    assert wishes.merged(first, {"device": {"id": "b"}}) == {
        "device": {"id": "b", "name": "n"},
        "cloud": "devicehive",
    }
    assert first["device"]["id"] == "a"


def test_environment_gives_what_it_names():
    environ = {"HEED_DEVICEHIVE_PORT": "8883", "HEED_PASSWORD": "of send", "PATH": "x"}
    assert wishes.from_environment(environ) == {"devicehive": {"port": 8883}}
    with pytest.raises(Problem, match=r"HEED_DEVICEHIVE_PORT: '1\.5' came, a number fits"):
        wishes.from_environment({"HEED_DEVICEHIVE_PORT": "1.5"})


@pytest.mark.parametrize(
    ("text", "says"), [("{", "not JSON"), ("[]", "README"), ('{"device": 1}', "README")]
)
def test_settings_file_that_is_none(tmp_path, text, says):
    (tmp_path / "s").write_text(text)
    with pytest.raises(Problem, match=says) as caught:
        wishes.from_file(str(tmp_path / "s"))
    assert caught.value.code == 2
    with pytest.raises(Problem, match="No such file"):
        wishes.from_file(str(tmp_path / "none"))


def test_questions_are_for_what_is_missing():
    hive = {"host": "h", "login": "l", "password": "p"}
    whole = {"device": {"id": "d"}, "devicehive": hive}
    assert wishes.missing(whole, wifi=False) == []
    assert wishes.missing(whole, wifi=True) == [("network", "ssid"), ("network", "password")]
    wifi = {**whole, "network": {"ssid": "w"}}
    assert wishes.missing(wifi, wifi=True) == [("network", "password")]
    # An open network has an empty password.
    assert wishes.missing({**whole, "network": {"ssid": "w", "password": ""}}, True) == []
    token = {"device": {"id": "d"}, "devicehive": {"host": "h", "refresh_token": "t"}}
    assert wishes.missing(token, wifi=False) == []
    assert wishes.missing({}, False) == [
        ("device", "id"),
        ("devicehive", "host"),
        ("devicehive", "login"),
        ("devicehive", "password"),
    ]


def test_person_is_asked_and_secrets_are_not_echoed(monkeypatch, capsys):
    answers = iter(["board-7", "home"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    monkeypatch.setattr(wishes.getpass, "getpass", lambda prompt: "hidden")
    hive = {"host": "h", "refresh_token": "t"}
    found = wishes.completed({"devicehive": hive}, wifi=True, ask=True)
    assert found["device"] == {"id": "board-7"}
    assert found["network"] == {"ssid": "home", "password": "hidden"}
    out, err = capsys.readouterr()
    assert "hidden" not in out + err
    with pytest.raises(Problem, match="HEED_DEVICE_ID"):
        wishes.completed({"devicehive": hive}, wifi=False, ask=False)


def test_secrets_are_found_wherever_they_are_and_cleaned_out():
    settings = {
        "network": {"password": "one", "known": [{"ssid": "w", "password": "one-two"}]},
        "devicehive": {"refresh_token": "three", "login": "four"},
    }
    assert wishes.secrets(settings) == ["one-two", "three", "one"]
    way = Line("P", print)
    way.secrets = wishes.secrets(settings)
    assert way.clean("one-two, three, one and four") == "***, ***, *** and four"
    way.secrets = ["-p!", "o", "longer-one"]
    assert way.clean("-p!, o: no reply, xlonger-oney") == "***, ***: no reply, x***y"


def test_private_file_goes_with_the_block(tmp_path):
    file = tmp_path / "deep" / "settings.json"
    with pytest.raises(KeyboardInterrupt), wishes.kept("text", file):
        assert file.stat().st_mode & 0o777 == 0o600
        raise KeyboardInterrupt
    assert not file.exists()


# What mpremote says, as real runs of it did


@pytest.mark.parametrize(
    ("printed", "kind", "says"),
    [
        ("mpremote: failed to access P (it may be in use by another program)", Closed, "opened"),
        ("mpremote: no device with serial number 7", Closed, "opened"),
        ("b''\nmpremote.transport.TransportError: could not enter raw repl", Away, "flashed"),
        ("x\nserial.serialutil.SerialException: socket disconnected", Away, "broke"),
        ("OSError: [Errno 5] Input/output error", Away, "broke"),
        ("mpremote: cp: f: No space left on device.", Problem, "file system is full"),
        ('  File "<stdin>", line 3\nOSError: [Errno 2] ENOENT', Problem, "ENOENT"),
        ("", Problem, "no reason"),
    ],
)
def test_what_went_wrong_is_one_sentence(printed, kind, says):
    found = Line("P", print).trouble(printed, Step("copying", ()))
    assert type(found) is kind
    assert says in str(found)
    assert "\n" not in str(found)


def test_a_board_that_hangs_is_told(monkeypatch):
    step = Step("copying", ("x",), timeout_s=3)

    def hang(argv, **options):
        assert options["timeout"] == 3
        raise subprocess.TimeoutExpired(argv, 3)

    monkeypatch.setattr(line.subprocess, "run", hang)
    with pytest.raises(Away, match=r"stopped answering.*reset button"):
        Line("P", lambda text: None).run(step)


def test_clock_is_set_in_utc():
    assert Line("P", print).environment(plan.CLOCK)["TZ"] == "UTC0"
    assert line.shown("P", plan.CLOCK) == "TZ=UTC0 mpremote connect P resume rtc --set"


# What a log means


ONLINE = "1.234 INFO session 1: online as board-1"
WIFI = ["0.100 INFO network: joining home", "2.000 INFO network: 192.168.0.7"]


def judged(*lines):
    return log.judge(iter(lines), [])


def test_online_is_seen_and_by_the_watchdog_too():
    assert judged(*WIFI, ONLINE) == (True, "board-1", "")
    assert judged("5.000 INFO watchdog: started, 8000 ms") == (True, "", "")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "it printed nothing"),
        ([*WIFI[:1]], "still joining the Wi-Fi home"),
        (
            [
                "30.0 x",
                "30.000 WARNING session: h:1883: no Wi-Fi joined, home (x); next try in 1 s",
            ],
            "no network: no Wi-Fi joined, home.*2.4 GHz",
        ),
        (
            [
                *WIFI,
                "9.0 x",
                "9.000 WARNING session: 10.0.0.2:1883: there was no answer in time; ",
            ],
            "Wi-Fi is joined, but 10.0.0.2 does not answer on port 1883.*ufw allow 1883/tcp",
        ),
        (
            ["9.000 WARNING session: hive.local:1883: its name could not be resolved; next try"],
            "hive.local:1883: the name could not be resolved",
        ),
        (
            [*WIFI, "3.000 WARNING session: h:1883: 401 check the login; next try in 60.0 s"],
            "Wi-Fi is joined, but h:1883: 401 check the login",
        ),
        (["0.010 ERROR settings: device.id is empty", "MicroPython v1.28.0 on x"], "id is empty"),
        (
            ["Traceback (most recent call last):", "ValueError: no pin", "MicroPython v1.28.0"],
            "its program ended: ValueError: no pin",
        ),
        (["MicroPython v1.28.0 on x"], "does main.py start the agent"),
        (["hello"], "the last it printed was: hello"),
    ],
)
def test_advice_fits_the_log(lines, says):
    verdict = judged(*lines)
    assert not verdict.online
    assert re.search(says, verdict.advice), verdict.advice


def test_prompt_ends_the_wait():
    def lines():
        yield "MicroPython v1.28.0 on x"
        raise AssertionError("it was over")

    assert not log.judge(lines(), []).online


# The plan


class Files(parcel.Parcel):
    """A parcel of two files."""

    def __init__(self, mpy=6):
        self.folder = parcel.ROOT / "x"
        self.mpy = mpy

    def files(self, package):
        return {"/lib/umqtt/simple.mpy": 2000} if package == "umqtt" else {"/lib/agent/a.mpy": 500}


def titles(found, main=None, chosen=False):
    return [step.title for step in plan.steps(Order(Files(), None, main, chosen), found)]


def test_umqtt_is_copied_where_it_is_missing_and_where_it_may_be_half_a_file():
    umqtt = "copying umqtt.simple"
    assert umqtt in titles(Found())
    assert umqtt not in titles(Found(umqtt="unknown"))
    assert umqtt in titles(Found(files={"/lib/umqtt/simple.mpy": 2000}))  # ours: compared
    assert umqtt not in titles(Found(files={"/lib/umqtt/simple.mpy": 2400}))  # another's
    assert umqtt not in titles(Found(files={"/lib/umqtt/simple.py": 9000}))
    assert umqtt in titles(Found(files={"/lib/umqtt/simple.mpy": 700}, cut=True))


def test_agent_in_the_firmware_is_not_copied():
    assert "copying the agent" not in titles(Found(agent="0.1.0"))


def test_what_cannot_fit_is_refused_before_anything_is_copied():
    with pytest.raises(Problem, match="2 KB free, and 3 KB are to be"):
        titles(Found(free=2100))
    assert titles(Found(free=600, files={"/lib/umqtt/simple.mpy": 2000}))


def test_firmware_is_checked():
    who = {"version": [1, 24, 0], "mpy": 6}
    plan.check_firmware(who, Files())
    plan.check_firmware({**who, "mpy": 5}, Files(mpy=None))
    for version, mpy, says in (([1, 23, 9], 6, "1.24 or newer"), ([1, 30, 0], 7, "version 7")):
        with pytest.raises(Problem, match=says):
            plan.check_firmware({"version": version, "mpy": mpy}, Files())
    with pytest.raises(Problem, match=r"reads no \.mpy files.*--source"):
        plan.check_firmware({**who, "mpy": 0}, Files())


def test_board_that_says_it_is_another_is_refused():
    who = {"machine": "Raspberry Pi Pico W with RP2040"}
    assert one._facts(None, who)["led"] == {"pin": "LED", "active": 1}
    assert one._facts("RPI_PICO_W", who)["port"] == "rp2"
    assert one._facts(None, {"machine": "Some board with ESP32"}) is None
    with pytest.raises(Problem, match="it is RPI_PICO_W, and --board says ESP32_GENERIC"):
        one._facts("ESP32_GENERIC", who)


def test_starter_gets_the_boards_led_and_is_known_again():
    text = parcel.starter({"led": {"pin": 2, "active": 0}})
    assert "\nLED, LIT = 2, 0\n" in text
    assert text.startswith(parcel.starter_mark())
    assert parcel.starter(None) == parcel.starter({"led": None}) == STARTER.read_text()
    compile(text, "main.py", "exec")


def test_version_of_bytecode_is_read_from_a_compiled_file(tmp_path):
    assert parcel.Parcel(source=False).mpy == 6
    assert parcel.Parcel(source=True).mpy is None


def test_removal_takes_only_what_is_there():
    assert removal.clearing(Found(), everything=True) == []
    found = Found(files={"/settings.json": 9, "/lib/agent/a.mpy": 1, "/journal/x": 1}, main="own")
    words = [step.words[2:] for step in removal.clearing(found, everything=False)]
    assert words == [("rm", ":/settings.json"), ("rm", "-r", ":/lib/agent")]
    words = [step.words[2:] for step in removal.clearing(found, everything=True)]
    assert words[0] == ("rm", ":/settings.json", ":/main.held")
    assert words[-1] == ("rm", "-r", ":/journal")
