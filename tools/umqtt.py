"""The MQTT library that boards have, for MicroPython on this machine.

PyPI holds it as a source archive without a build file, which pip refuses to install; `unearth`
finds and downloads it with the indexes that pip is configured for on this machine.
"""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tools.places import CACHE, locked
from tools.report import Problem, say

VERSION = "1.3.4"
REQUIREMENT = f"micropython-umqtt.simple=={VERSION}"
SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
FOLDER = CACHE / f"umqtt-{VERSION}"


def folder() -> Path:
    """The folder that holds `umqtt/simple.py`, fetched if need be; for MICROPYPATH.

    Runs inside the tools' environment. Raises Problem when the library cannot be had.
    """
    if not FOLDER.is_dir():
        with locked("umqtt"):
            if not FOLDER.is_dir():
                _fetch()
    return FOLDER


def _fetch() -> None:
    say(f"fetching {REQUIREMENT}")
    beside = FOLDER.with_name(FOLDER.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        archive = _download(Path(scratch))
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            raise Problem(f"{archive.name} is not the archive that was pinned: its hash differs.")
        _unpack(archive, beside)
    beside.rename(FOLDER)


def _unpack(archive: Path, target: Path) -> None:
    """Writes out the library's one package; the path inside the archive begins with its name."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, _, inside = member.name.partition("/")
            if member.isfile() and inside.startswith("umqtt/") and ".." not in inside:
                file = target / inside
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(tar.extractfile(member).read())


def _download(scratch: Path) -> Path:
    config = pip_config()
    argv = [sys.executable, "-m", "unearth", REQUIREMENT, "--no-binary", "--download", scratch]
    argv += _index_words(config)
    # unearth asks httpx, which reads the environment where pip reads its own setting.
    certificates = {"SSL_CERT_FILE": config["cert"]} if "cert" in config else {}
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **certificates})
    archives = list(scratch.glob("*.tar.gz"))
    if done.returncode or not archives:
        reason = (done.stderr.strip().splitlines() or ["it is not on the index"])[-1]
        raise Problem(f"{REQUIREMENT} could not be fetched; is the network there? {reason}")
    return archives[0]


def _index_words(config: dict[str, str]) -> list[str]:
    """Any place named replaces unearth's default, PyPI: none is named unless pip's own default is
    replaced as well, or the extra places would be the only ones asked."""
    options = {}
    if config.get("index-url"):
        options = {"index-url": "-i", "extra-index-url": "-i", "trusted-host": "--trusted-host"}
    if options or config.get("no-index"):
        options["find-links"] = "-f"
    pairs = [(option, value) for key, option in options.items() for value in _words(config, key)]
    return [word for pair in pairs for word in pair]


def _words(config: dict[str, str], key: str) -> list[str]:
    return config.get(key, "").split()


def pip_config() -> dict[str, str]:
    """pip's settings that concern downloads, from its files and from the environment.

    Lists come separated by blanks, as pip writes them.
    """
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    )
    return parse_pip_config(listing.stdout)


def parse_pip_config(listing: str) -> dict[str, str]:
    """Reads `pip config list`: lines like global.index-url='...'; the environment goes first."""
    config: dict[str, str] = {}
    rank = {"global": 0, "install": 1, "download": 1, ":env:": 2}
    lines = [line.partition("=") for line in listing.splitlines()]
    named = [(*key.rpartition(".")[::2], value) for key, _, value in lines if value]
    for _section, key, value in sorted(named, key=lambda line: rank.get(line[0], -1)):
        config[key] = str(ast.literal_eval(value))
    return config
