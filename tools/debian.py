"""Programs from the Debian or Ubuntu archive, unpacked in the cache and run from there.

Neither root nor an installation is needed, and the machine's own libraries are not touched: apt
gets folders of its own, checks the archive's signature as ever and resolves what the program
needs, for a foreign architecture as well; `dpkg -x` unpacks; the program runs through the dynamic
loader that came with it.
"""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools import apt_sources
from tools.places import CACHE, locked
from tools.report import Problem, say

# Releases before these have no MicroPython that is new enough; the mirror and the keyring of a
# distribution serve its later releases as well.
FIRST_USEFUL = {"debian": (13, "trixie"), "ubuntu": (26.04, "resolute")}

# Word size in bits to Debian's architecture, by the machine's own architecture.
ARCHITECTURES = {
    "amd64": {64: "amd64", 32: "i386"},
    "arm64": {64: "arm64", 32: "armhf"},
    "i386": {32: "i386"},
    "armhf": {32: "armhf"},
}

# Read with `-c`, after the machine's own configuration: its proxy stays, what would get in the
# way goes (clean-up hooks of container images, pins, a default release).
APT_CONF = """
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear Acquire::IndexTargets::deb::Contents-deb;
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "{folder}/sources";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "archives";
Dir::Log "{folder}/log";
APT::Architecture "{arch}";
APT::Architectures {{ "{arch}"; }};
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Get::Assume-Yes "true";
APT::Keep-Downloaded-Packages "true";
APT::Sandbox::User "{user}";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
"""


@dataclass(frozen=True)
class Release:
    """What os-release(5) says of the machine; distribution is `debian` or `ubuntu`."""

    distribution: str
    version: float
    codename: str


def available() -> bool:
    """Whether this machine has the tools of Debian at all."""
    return bool(shutil.which("apt-get") and shutil.which("dpkg"))


def architecture(bits: int | None = None) -> str:
    """Debian's name for the architecture with this word size, by default the machine's own.

    Raises Problem when the machine's kind has none of that size.
    """
    own = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True)
    name = own.stdout.strip()
    if bits is None:
        return name
    try:
        return ARCHITECTURES[name][bits]
    except KeyError:
        raise Problem(f"There are no {bits}-bit Debian packages for {name} machines.") from None


def program(package: str, path: str, arch: str) -> list[str]:
    """The command line that runs one program of a package; fetches the package if need be.

    path: of the program inside the package, `usr/bin/micropython`. arch: Debian's name.
    Raises Problem when it cannot be had.
    """
    root = CACHE / "debian" / arch / package
    if not root.is_dir():
        with locked(f"debian-{arch}"):
            if not root.is_dir():
                _fetch(package, arch, root)
    return [*_loader(root), str(root / path)]


def _loader(root: Path) -> list[str]:
    # Releases before the merge of /lib and /usr/lib keep some libraries in the former.
    folders = sorted([*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")])
    loaders = [file for folder in folders for file in folder.glob("ld-linux*.so.*")]
    if not loaders:
        raise Problem(f"{root} holds no dynamic loader: delete that folder, then try again.")
    return [str(loaders[0]), "--library-path", ":".join(map(str, folders))]


def _fetch(package: str, arch: str, root: Path) -> None:
    say(f"fetching {package} for {arch} and its libraries from the distribution's archive")
    apt = _prepare_apt(root.parent / "apt", arch)
    archives = root.parent / "apt/cache/archives"
    shutil.rmtree(archives, ignore_errors=True)
    (archives / "partial").mkdir(parents=True)
    _run([*apt, "update"], f"apt-get update for {arch}")
    _run([*apt, "install", "--download-only", package], f"apt-get download of {package} ({arch})")
    _unpack(sorted(archives.glob("*.deb")), root)
    shutil.rmtree(archives)


def _unpack(packages: list[Path], root: Path) -> None:
    """Unpacks beside and renames when whole: a folder of the final name is always complete."""
    beside = root.with_name(root.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    for file in packages:
        _run(["dpkg", "-x", str(file), str(beside)], f"unpacking {file.name}")
    beside.rename(root)


def _prepare_apt(folder: Path, arch: str) -> list[str]:
    for name in ("sources", "state/lists/partial", "cache", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    # Nothing is installed as far as this apt knows. Its locks are made beside this file.
    (folder / "state/status").touch()
    (folder / "sources/own.sources").write_text(_source_text(machine_release()))
    # As root apt would hand downloads to its own user, who may not be able to read this folder.
    user = "root" if os.geteuid() == 0 else ""
    conf = folder / "apt.conf"
    conf.write_text(APT_CONF.format(folder=folder, arch=arch, user=user))
    return ["apt-get", "-q", "-c", str(conf)]


def _source_text(release: Release, etc: Path = apt_sources.ETC) -> str:
    source = apt_sources.own(apt_sources.read(etc), release.distribution, release.codename)
    if source is None:
        raise Problem(
            f"{etc} names no source of {release.distribution} {release.codename} itself, "
            "so there is nothing to fetch MicroPython from; name one with --micropython."
        )
    components = "main universe" if release.distribution == "ubuntu" else "main"
    lines = ["Types: deb", f"URIs: {source.uri}", f"Suites: {suite(release)}"]
    lines.append(f"Components: {components}")
    for key in ("signed-by", "check-valid-until"):
        if key in source.options:
            lines.append(f"{key}: {source.options[key]}")
    return "\n".join(lines) + "\n"


def suite(release: Release) -> str:
    """The release to fetch from: the machine's own, or the first one whose MicroPython will do."""
    version, codename = FIRST_USEFUL[release.distribution]
    return codename if release.version < version else release.codename


def machine_release() -> Release:
    """Raises Problem on what is neither Debian nor Ubuntu nor made from them."""
    try:
        return parse_release(platform.freedesktop_os_release())
    except OSError:
        raise Problem("This machine does not say which Linux it is (os-release).") from None


def parse_release(facts: dict[str, str]) -> Release:
    """Reads os-release's fields; Ubuntu's children name the Ubuntu they are made from."""
    if "UBUNTU_CODENAME" in facts and facts.get("ID") != "ubuntu":
        return Release("ubuntu", 0, facts["UBUNTU_CODENAME"])
    if facts.get("ID") not in FIRST_USEFUL:
        raise Problem(f"{facts.get('NAME', 'This Linux')} is neither Debian nor Ubuntu.")
    # Debian's testing and unstable carry no number: they are newer than any.
    version = float(facts.get("VERSION_ID") or "inf")
    return Release(facts["ID"], version, facts.get("VERSION_CODENAME", "sid"))


def _run(argv: list[str], what: str) -> None:
    # The messages are read by a person in case of need: in the language of the sources.
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        errors = [line for line in lines if line.startswith("E:")]
        raise Problem(f"{what} failed: {(errors or lines or ['no reason given'])[0]}")
