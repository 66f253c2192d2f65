"""The files of the scripted device under the real mpremote, up to an agent that mip installed."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from host_tests.device import ESP32, PICO_W, Device
from host_tests.package_index import Index
from host_tests.place import MAIN, Place

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def device(tmp_path):
    with Device(tmp_path / "board") as device:
        yield device


def ok(done):
    """What mpremote printed, having succeeded."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def put(device, name, text):
    (device.folder / name).write_text(text)


@pytest.mark.parametrize("link", ["pty", "socket"])
def test_a_file_comes_back_as_it_was(tmp_path, link):
    sent, back = tmp_path / "sent", tmp_path / "back"
    # A socket costs mpremote a system call or two for each byte that it reads.
    sent.write_bytes(bytes(range(256)) + os.urandom(100_000 if link == "pty" else 4_000))
    with Device(tmp_path / "board", link=link) as device:
        ok(device.run("fs", "cp", sent, ":sent"))
        assert (device.folder / "sent").read_bytes() == sent.read_bytes()
        ok(device.run("fs", "cp", ":sent", back))
        assert back.read_bytes() == sent.read_bytes()
        digest = hashlib.sha256(sent.read_bytes()).hexdigest()
        assert digest in ok(device.run("fs", "sha256sum", ":sent"))


def test_copying_a_folder_again_sends_only_what_changed(device, tmp_path):
    source = tmp_path / "pack"
    (source / "inner").mkdir(parents=True)
    (source / "one.py").write_text("ONE = 1")
    (source / "inner" / "two.py").write_text("TWO = 2")
    ok(device.run("fs", "mkdir", ":lib"))
    ok(device.run("fs", "cp", "-r", source, ":lib/"))
    assert ok(device.run("exec", "import pack.inner.two as t; print(t.TWO)")) == "2\n"
    (source / "one.py").write_text("ONE = 3")
    seen = len(device.blocks)
    again = ok(device.run("fs", "cp", "-r", source, ":lib/"))
    assert "Up to date: lib/pack/inner/two.py" in again
    assert "Up to date: lib/pack/one.py" not in again
    written = [block for block in device.blocks[seen:] if b"'wb'" in block]
    assert len(written) == 1 and b"one.py" in written[0]
    assert (device.folder / "lib/pack/one.py").read_text() == "ONE = 3"


def test_files_are_listed_measured_and_removed(device):
    (device.folder / "a" / "b").mkdir(parents=True)
    (device.folder / "a" / "b" / "c.txt").write_bytes(b"x" * 5000)
    assert ok(device.run("fs", "ls", ":a/b")).split() == ["ls", ":a/b", "5000", "c.txt"]
    *_, line = ok(device.run("df")).splitlines()
    blocks = 2 + 2 + 2 + 2
    assert line.split()[-5:-2] == [str(n) for n in (868352, blocks * 4096, 868352 - blocks * 4096)]
    ok(device.run("fs", "rm", ":a/b/c.txt"))
    assert not (device.folder / "a" / "b" / "c.txt").exists()
    ok(device.run("fs", "rm", "-r", ":a"))
    assert os.listdir(device.folder) == []
    missing = device.run("fs", "rm", ":nothing")
    assert missing.returncode == 1 and "No such file" in missing.stderr


def test_the_disk_gets_full_and_has_room_again(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(9_000))
    large.write_bytes(bytes(20_000))
    with Device(tmp_path / "board", PICO_W._replace(flash=32_768)) as device:
        ok(device.run("fs", "cp", small, ":small"))
        full = device.run("fs", "cp", large, ":large")
        assert full.returncode == 1 and "No space left" in full.stderr
        assert (device.folder / "large").stat().st_size <= 12_288
        ok(device.run("fs", "rm", ":small", ":large"))
        ok(device.run("fs", "cp", large, ":large"))


FILES = """
import json, os
os.mkdir("box")
os.rename("box", "/chest")
os.chdir("chest")
with open("a", "w") as file:
    json.dump({"a": 1}, file)
    print("", file=file)
os.rename("a", "b")
os.rename("/chest/b", "/chest/c")
with open("/chest/c", "a") as file:
    print(file.write("two"), file.flush())
with open("c", "r+b") as file:
    print(file.seek(3), file.write(b"A"), file.tell(), file.seek(0), file.read())
print(os.getcwd(), list(os.ilistdir()), os.stat("c")[6])
os.remove("c")
os.chdir("/")
os.rmdir("chest")
for line in open("lines", "w+"):
    print("none")
print(os.listdir(), os.listdir("/"))
"""


def test_files_are_what_they_are_on_a_board(device, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(FILES)
    assert ok(device.run("run", program)).splitlines() == [
        "3 None",
        "3 1 4 0 b'{\"aA: 1}\\ntwo'",
        "/chest [('c', 32768, 0, 12)] 12",
        "['lines'] ['lines']",
    ]


def test_a_local_folder_is_mounted(device, tmp_path):
    (tmp_path / "mounted").mkdir()
    # Bytes that are control characters to a REPL; the length of a path, sent as a byte, is one that
    # a terminal would take for a newline.
    for name in ("nine.data", "ten.length"):
        (tmp_path / "mounted" / name).write_bytes(bytes(range(256)))
    script = (
        "for n in ('nine.data', 'ten.length'): print(open(n, 'rb').read() == bytes(range(256)))"
    )
    done = device.run("mount", tmp_path / "mounted", "exec", script)
    assert ok(done).splitlines()[-2:] == ["True", "True"]


@pytest.mark.parametrize(("hardware", "there"), [(PICO_W, False), (ESP32, True)])
def test_umqtt_is_where_the_firmware_has_it(tmp_path, hardware, there):
    with Device(tmp_path / "board", hardware) as device:
        done = device.run("exec", "import umqtt.simple, os; print(os.listdir('/'))")
        assert ("ImportError: no module named 'umqtt'" in done.stdout) is not there
        assert (done.stdout == "[]\n") is there


def install(device):
    """Install this checkout with mip, as its owner would."""
    with Index() as index:
        return ok(
            subprocess.run(
                device.mpremote("mip", "install", "--index", index.url, ROOT / "package.json"),
                capture_output=True,
                text=True,
                timeout=120,
                env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
            )
        )


def test_mip_installs_the_agent_and_it_answers_a_command(tmp_path):
    with Place(tmp_path, 32) as place, Device(tmp_path / "board") as device:
        install(device)
        installed = {path for path in (device.folder / "lib").rglob("*") if path.is_file()}
        wanted = set((ROOT / "agent").rglob("*.py"))
        assert {path.relative_to(device.folder / "lib") for path in installed} == {
            Path("umqtt/simple.py"), *(path.relative_to(ROOT) for path in wanted)
        }  # fmt: skip
        for path in wanted:
            copy = device.folder / "lib" / path.relative_to(ROOT)
            assert copy.read_bytes() == path.read_bytes()
        place.start_hub()
        settings = place.settings()
        settings["network"] = {"ssid": "any", "password": "thing"}
        settings["watchdog"] = {"timeout_ms": 8000}
        put(device, "settings.json", json.dumps(settings))
        put(device, "main.py", MAIN)
        ok(device.run("reset"))
        device.await_output("online as dev-1")
        outcome = place.send(("add", {"a": 2, "b": 3}, 30))[0]
        assert (outcome["status"], outcome["result"]) == ("succeeded", {"sum": 5, "runs": 1})
        device.await_output("watchdog: started, 8000 ms")
        assert device.running and device.watchdog == 8000
        # Stopped by Ctrl-C, reset from outside: the same as on a board.
        ok(device.run("exec", "print(1)"))
        seen = len(device.output)
        device.power_cycle()
        device.await_output("online as dev-1", start=seen)
        assert place.send(("add", {"a": 4, "b": 3}, 30))[0]["result"] == {"sum": 7, "runs": 1}
