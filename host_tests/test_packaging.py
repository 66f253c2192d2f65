"""The ways onto a board other than `deploy`: mip reads package.json, a firmware's build the manifests.

Both are read by their own programs' code: mpremote's `mip`, and MicroPython's `manifestfile`.
"""

import argparse
import asyncio
import http.server
import json
import re
import shutil
import threading

import pytest
from mpremote import mip

from host_tests.processes import Child
from tools import agent, boards, bytecode, freezing, interpreters, packaging, umqtt
from tools.places import ROOT
from tools.report import Problem

MANIFEST = """
metadata(description="x", version="1.2.0", license="MIT")
require("umqtt.simple")
package("agent")
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "agent/clouds").mkdir(parents=True)
    for name in ("agent/__init__.py", "agent/clouds/one.py"):
        (tmp_path / name).touch()
    (tmp_path / "agent/__init__.py").write_text('__version__ = "1.2.0"\n')
    (tmp_path / "manifest.py").write_text(MANIFEST)
    write_package(tmp_path, ["agent/__init__.py", "agent/clouds/one.py"])
    return tmp_path


def write_package(root, names, version="1.2.0", deps=(("umqtt.simple", "1.8.0"),)):
    urls = [[name, name] for name in names]
    package = {"urls": urls, "deps": deps, "version": version}
    (root / "package.json").write_text(json.dumps(package))


def test_right_packaging_has_no_complaint(root):
    assert packaging.manifest_complaints(root) == []
    assert packaging.package_complaints(root) == []


def test_another_version_in_the_agent_is_told(root):
    (root / "agent/__init__.py").write_text('__version__ = "1.1.9"\n')
    text = 'agent/__init__.py: __version__ is not manifest.py\'s "1.2.0"'
    assert packaging.manifest_complaints(root) == [text]


def test_file_that_is_not_listed_and_listed_file_that_is_not_there(root):
    write_package(root, ["agent/__init__.py", "agent/gone.py"])
    assert packaging.package_complaints(root) == [
        'package.json: add ["agent/clouds/one.py", "agent/clouds/one.py"]',
        "package.json: agent/gone.py is listed, but there is no such file",
    ]


def test_other_source_and_other_version_are_told(root):
    write_package(root, ["agent/__init__.py", "agent/clouds/one.py"], version="1.1.0")
    text = (root / "package.json").read_text()
    swapped = text.replace('"agent/__init__.py"]', '"agent/clouds/one.py"]')
    (root / "package.json").write_text(swapped)
    assert packaging.package_complaints(root) == [
        "package.json: agent/__init__.py is fetched from agent/clouds/one.py",
        "package.json: version is '1.1.0', manifest.py's is '1.2.0'",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("metadata(", "manifest.py does not run: SyntaxError"),
        ("no_such_word('x')", "manifest.py does not run: NameError"),
        ("package('agent')", 'metadata(version="...") is missing'),
        ("metadata(version='1')", 'package("agent") is missing'),
    ],
)
def test_wrong_manifest_is_told(root, text, complaint):
    (root / "manifest.py").write_text(text)
    assert complaint in packaging.manifest_complaints(root)[0]


def test_missing_files_are_complaints(tmp_path):
    assert "No such file" in packaging.manifest_complaints(tmp_path)[0]
    assert "No such file" in packaging.package_complaints(tmp_path)[0]


@pytest.mark.parametrize(
    ("deps", "complaint"),
    [
        ([], 'package.json: add ["umqtt.simple", "..."] to deps, with its version'),
        ([["umqtt.simple", "latest"]], "package.json: umqtt.simple has no version in deps"),
        (
            [["umqtt.simple", "1.8.0"], ["logging", "0.6.2"]],
            "package.json: manifest.py does not require logging",
        ),
    ],
)
def test_dependencies_are_the_manifests_and_pinned(root, deps, complaint):
    write_package(root, ["agent/__init__.py", "agent/clouds/one.py"], deps=deps)
    assert packaging.package_complaints(root) == [complaint]


def test_package_json_written_anew_is_right_and_keeps_its_pins(root):
    write_package(root, ["agent/gone.py"], version="0.9")
    text = packaging.package_text(root)
    (root / "package.json").write_text(text)
    assert packaging.package_complaints(root) == []
    assert json.loads(text)["deps"] == [["umqtt.simple", "1.8.0"]]
    assert '    ["agent/clouds/one.py", "agent/clouds/one.py"]' in text.splitlines()


def test_the_projects_own_are_right():
    assert packaging.manifest_complaints(ROOT) == []
    assert packaging.package_complaints(ROOT) == []


class Board:
    """What mpremote's mip asks of a board: answers like one with an empty file system."""

    def __init__(self):
        self.files = {}
        self.folders = set()

    def exec(self, code):
        assert code == "import sys"

    def eval(self, code):
        return ["", ".frozen", "/lib"] if code == "sys.path" else 6

    def fs_exists(self, path):
        return path in self.folders or path in self.files

    def fs_mkdir(self, path):
        assert path.rpartition("/")[0] in self.folders | {""}
        self.folders.add(path)

    def fs_hashfile(self, path, algorithm):
        raise FileNotFoundError(path)

    def fs_writefile(self, path, data, progress_callback=None):
        assert path.rpartition("/")[0] in self.folders
        self.files[path] = bytes(data)


class State:
    """mpremote's connection to a board."""

    def __init__(self, transport):
        self.transport = transport

    def did_action(self):
        pass

    def ensure_raw_repl(self):
        pass


class Index(http.server.BaseHTTPRequestHandler):
    """The package index, on loopback; holds umqtt.simple as .mpy files, and nothing else."""

    def do_GET(self):
        library = {"hashes": [["umqtt/simple.mpy", "0a1b2c3d"]], "version": "1.8.0"}
        pages = {
            "/package/6/umqtt.simple/1.8.0.json": json.dumps(library).encode(),
            "/file/0a/0a1b2c3d": b"the MQTT library",
        }
        self.send_response(200 if self.path in pages else 404)
        self.end_headers()
        self.wfile.write(pages.get(self.path, b""))

    def log_message(self, *_):
        pass


@pytest.fixture
def index():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("package", ["package.json", "./package.json", f"{ROOT}/package.json"])
def test_mip_installs_exactly_the_agent_and_its_library(package, index, monkeypatch):
    monkeypatch.chdir(ROOT)
    board = Board()
    words = {"command": ["install"], "packages": [package], "target": None, "mpy": None}
    mip.do_mip(State(board), argparse.Namespace(**words, index=index))
    agent_files = {
        f"/lib/{name.relative_to(ROOT).as_posix()}": name.read_bytes() for name in own()
    }
    assert board.files == {**agent_files, "/lib/umqtt/simple.mpy": b"the MQTT library"}


def own():
    """The files of the agent."""
    return sorted((ROOT / "agent").rglob("*.py"))


@pytest.fixture(scope="module")
def micropython(tmp_path_factory):
    return freezing.stand_in(tmp_path_factory.mktemp("micropython"))


def test_as_a_library_the_manifest_brings_the_agent_and_umqtt(micropython):
    files = freezing.frozen(ROOT / "manifest.py", micropython)
    names = {file.relative_to(ROOT).as_posix() for file in own()}
    assert set(files) == {*names, "umqtt/simple.py"}
    assert {files[name] for name in names} == set(own())


@pytest.mark.parametrize("name", boards.names())
def test_a_boards_manifest_freezes_what_its_port_does_and_the_agent(name, micropython, tmp_path):
    manifest = ROOT / "boards" / name / "manifest.py"
    files = freezing.frozen(manifest, micropython, boards.load(name)["port"], name)
    names = {file.relative_to(ROOT).as_posix() for file in own()}
    assert set(files) == {*names, "umqtt/simple.py", "_boot.py"}
    for target, source in files.items():
        bytecode.compile_file(source, target, (tmp_path / target).with_suffix(".mpy"))


def test_the_manifests_of_the_project_have_no_complaint(micropython):
    assert freezing.complaints(micropython) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("package(", 'require("no-such")\npackage('), "Package 'no-such' not found"),
        (('package("agent")', 'freeze("agent")'), "name 'freeze' is not defined"),
        (("metadata(", 'require("umqtt.simple")\nmetadata('), "metadata() must be the first"),
        (
            ('package("agent")', 'package("agent", files=["log.py"])'),
            "agent/agent.py is not frozen",
        ),
        (('require("umqtt.simple")', ""), "umqtt/simple.py is not frozen"),
    ],
)
def test_a_manifest_that_micropython_refuses_or_that_lacks_files_is_told(
    change, complaint, micropython, tmp_path
):
    for part in ("agent", "boards"):
        shutil.copytree(ROOT / part, tmp_path / part)
    text = (ROOT / "manifest.py").read_text()
    assert change[0] in text
    (tmp_path / "manifest.py").write_text(text.replace(*change))
    found = freezing.complaints(micropython, tmp_path)
    assert any(complaint in line for line in found), found


def test_a_board_whose_manifest_forgets_its_port_is_told(micropython, tmp_path):
    for part in ("agent", "boards"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "manifest.py", tmp_path)
    manifest = tmp_path / "boards/RPI_PICO_W/manifest.py"
    manifest.write_text(re.sub(r"include\(\"\$.*\n", "", manifest.read_text()))
    found = freezing.complaints(micropython, tmp_path)
    assert found == ["boards/RPI_PICO_W/manifest.py: _boot.py is not frozen"]


def test_a_file_that_two_manifests_freeze_is_a_problem(micropython, tmp_path):
    (tmp_path / "manifest.py").write_text("metadata(version='1')\n" + 2 * "module('a.py')\n")
    (tmp_path / "a.py").touch()
    with pytest.raises(Problem, match=r"a\.py is frozen twice"):
        freezing.frozen(tmp_path / "manifest.py", micropython)


PROGRAM = """
import asyncio
from agent import Agent
board = Agent("settings.json")

@board.command("echo")
def echo(command):
    return command.parameters

async def main():
    online = asyncio.Event()
    board.on("online", online.set)
    task = asyncio.create_task(board.start())
    await online.wait()
    outcome = await board.submit("echo", {"said": 1})
    print("outcome", outcome.status)

asyncio.run(main())
"""


def left_out():
    """The files that boards/README.md calls optional."""
    text = (ROOT / "boards/README.md").read_text()
    section = re.search(r"## What can be left out\n(.*?)\n## ", text, re.S)[1]
    return re.findall(r"^\| `(agent/\S+\.py)` \|", section, re.M)


def test_the_page_names_files_that_can_be_left_out():
    assert left_out()
    assert all((ROOT / name).is_file() for name in left_out())


def comes_online(folder, library, heap="96k"):
    """Runs PROGRAM with the agent of a folder against a hub, until its command is answered."""
    from tools.hub.hub import Hub

    async def main():
        async with Hub() as hub:
            own = {"host": hub.host, "port": hub.mqtt_port, "login": "heed", "password": "heed"}
            settings = {"device": {"id": "d1"}, "cloud": "devicehive", "devicehive": own}
            program, board = folder / "program.py", folder / "board"
            plan = agent.launch(settings, program, board, heap, interpreters.find(32))
            env = {**plan.env, "MICROPYPATH": f"{board}:{library}:{umqtt.folder()}:.frozen"}
            with Child(plan.argv, cwd=plan.cwd, env=env) as child:
                await asyncio.to_thread(child.await_line, "outcome succeeded", 30)

    (folder / "program.py").write_text(PROGRAM)
    asyncio.run(main())


@pytest.mark.parametrize("name", left_out())
def test_an_agent_does_without_each_file_that_can_be_left_out(name, tmp_path):
    shutil.copytree(bytecode.compiled() / "agent", tmp_path / "lib/agent")
    (tmp_path / "lib" / name).with_suffix(".mpy").unlink()
    comes_online(tmp_path, tmp_path / "lib")


def test_what_mip_installs_comes_online_in_the_heap_that_the_page_tells(tmp_path):
    for target, source in json.loads((ROOT / "package.json").read_text())["urls"]:
        (tmp_path / "lib" / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, tmp_path / "lib" / target)
    kilobytes = re.search(
        r"as mip installs it, in (\d+) KB", (ROOT / "boards/README.md").read_text()
    )
    comes_online(tmp_path, tmp_path / "lib", heap=f"{kilobytes[1]}k")
