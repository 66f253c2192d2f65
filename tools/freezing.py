"""The manifests, read by MicroPython's own code, as a firmware's build reads them.

That code, `tools/manifestfile.py` of MicroPython's source, is on PyPI as a file inside the package
micropython-stubber; none of that package's dependencies is needed for it.
"""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

from tools import boards, environment, umqtt
from tools.places import CACHE, ROOT, locked
from tools.report import Problem

REQUIREMENT = "micropython-stubber==1.29.1"
INSTALLED = CACHE / "packages" / REQUIREMENT.replace("==", "-")

# What manifests name of MicroPython's source: enough of it to show that each `include` and
# `require` finds what it asks for, and that the port's own modules are frozen as before.
_PORTS = {
    "esp32": 'freeze("$(PORT_DIR)/modules")\nrequire("umqtt.simple")\n',
    "rp2": 'freeze("$(PORT_DIR)/modules")\n',
}
_RP2_BOARD = 'include("$(PORT_DIR)/boards/manifest.py")\n'
_UMQTT = f'metadata(version="{umqtt.VERSION}")\npackage("umqtt")\n'


def manifestfile() -> ModuleType:
    """MicroPython's module that reads manifests, fetched if need be. Raises Problem."""
    if not INSTALLED.is_dir():
        with locked("packages"):
            if not INSTALLED.is_dir():
                _install()
    file = INSTALLED / "stubber/tools/manifestfile.py"
    spec = importlib.util.spec_from_file_location("manifestfile", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _install() -> None:
    """Beside first, then renamed: a folder of the final name is always complete."""
    beside = INSTALLED.with_name(INSTALLED.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    environment.pip_install(["--no-deps", "--target", str(beside), REQUIREMENT])
    beside.rename(INSTALLED)


def stand_in(folder: Path) -> Path:
    """Makes a folder that stands in for a checkout of MicroPython; the MQTT library is real."""
    for port, text in _PORTS.items():
        _write(folder / f"ports/{port}/modules/_boot.py", "")
        _write(folder / f"ports/{port}/boards/manifest.py", text)
    for name in boards.names():
        if boards.load(name)["port"] == "rp2":
            _write(folder / f"ports/rp2/boards/{name}/manifest.py", _RP2_BOARD)
    library = folder / "lib/micropython-lib/micropython/umqtt.simple"
    _write(library / "manifest.py", _UMQTT)
    shutil.copytree(umqtt.folder() / "umqtt", library / "umqtt", dirs_exist_ok=True)
    return folder


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def frozen(manifest: Path, micropython: Path, port: str = "", board: str = "") -> dict[str, Path]:
    """What a manifest brings into a firmware: {its name there: the file}.

    micropython: a checkout, or its stand-in. Without a port the manifest is read as a library's,
    which may not freeze. Raises Problem with MicroPython's own words for a wrong manifest.
    """
    reader = manifestfile()
    home = micropython / "ports" / port
    variables = {"MPY_DIR": micropython, "MPY_LIB_DIR": micropython / "lib/micropython-lib"}
    if port:
        variables |= {"PORT_DIR": home, "BOARD_DIR": home / "boards" / board}
    mode = reader.MODE_FREEZE if port else reader.MODE_COMPILE
    found = reader.ManifestFile(mode, {name: str(path) for name, path in variables.items()})
    try:
        found.execute(str(manifest))
    except reader.ManifestFileError as error:
        raise Problem(str(error)) from None
    return _files(found.files(), manifest)


def _files(outputs: list, manifest: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for output in outputs:
        if output.target_path in files:
            raise Problem(f"{manifest}: {output.target_path} is frozen twice")
        files[output.target_path] = Path(output.full_path)
    return files


def complaints(micropython: Path, root: Path = ROOT) -> list[str]:
    """Sentences on manifests that do not freeze the whole agent and the MQTT library."""
    asked = [("manifest.py", "", "")]
    for name in boards.names(root / "boards"):
        port = boards.load(name, root / "boards")["port"]
        asked.append((f"boards/{name}/manifest.py", port, name))
    found = []
    for name, port, board in asked:
        try:
            found += _lacks(name, set(frozen(root / name, micropython, port, board)), port, root)
        except Problem as problem:
            found.append(f"{name}: {problem}")
    return found


def _lacks(name: str, files: set[str], port: str, root: Path) -> list[str]:
    wanted = {file.relative_to(root).as_posix() for file in (root / "agent").rglob("*.py")}
    wanted |= {"umqtt/simple.py"} | ({"_boot.py"} if port else set())
    lacking = [f"{name}: {file} is not frozen" for file in sorted(wanted - files)]
    return lacking + [f"{name}: {file} is frozen, too" for file in sorted(files - wanted)]
