"""What the two ways onto a board say of the agent: `manifest.py` (frozen) and `package.json` (mip).

    python3 -m tools.packaging     # writes package.json anew

Formats: MicroPython's documentation, reference/manifest and reference/packages.
"""

import json
from pathlib import Path

from tools.places import ROOT


class Manifest:
    """What a manifest asks for, written down instead of done."""

    def __init__(self, path: Path):
        """Raises what the manifest raises; NameError for a word that is not of its language."""
        self.facts: dict[str, object] = {}
        self.packages: list[str] = []
        self.required: list[str] = []
        exec(compile(path.read_bytes(), str(path), "exec"), self._language())

    def _language(self) -> dict[str, object]:
        words = ("module", "include", "add_library", "freeze", "c_module", "options")
        language: dict[str, object] = dict.fromkeys(words, self._pass_over)
        own = {"metadata": self._metadata, "package": self._package, "require": self._require}
        return {**language, **own}

    def _metadata(self, **facts: object) -> None:
        self.facts.update(facts)

    def _package(self, name: str, *_: object, **__: object) -> None:
        self.packages.append(name)

    def _require(self, name: str, *_: object, **__: object) -> None:
        self.required.append(name)

    def _pass_over(self, *_: object, **__: object) -> None:
        pass


def manifest_complaints(root: Path) -> list[str]:
    """Sentences on what is wrong with manifest.py; none when it is right."""
    try:
        manifest = Manifest(root / "manifest.py")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a manifest does is told
        return [f"manifest.py does not run: {type(error).__name__}: {error}"]
    complaints = []
    if not manifest.facts.get("version"):
        complaints.append('manifest.py: metadata(version="...") is missing')
    if "agent" not in manifest.packages:
        complaints.append('manifest.py: package("agent") is missing')
    # The board tells its version, and has no manifest to read it from.
    version = manifest.facts.get("version")
    if not complaints and f'__version__ = "{version}"' not in _source(root):
        complaints.append(f'agent/__init__.py: __version__ is not manifest.py\'s "{version}"')
    return complaints


def _source(root: Path) -> str:
    try:
        return (root / "agent/__init__.py").read_text()
    except OSError:
        return ""


def package_complaints(root: Path) -> list[str]:
    """Sentences on where package.json differs from agent/ and from manifest.py."""
    try:
        package = json.loads((root / "package.json").read_text())
        listed = dict(package.get("urls", []))
        pinned = dict(package.get("deps", []))
        version = package.get("version")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return [f"package.json: {error}"]
    return [*_differences(root, listed), *_manifest_differences(root, version, pinned)]


def _files(root: Path) -> set[str]:
    return {file.relative_to(root).as_posix() for file in (root / "agent").rglob("*.py")}


def _differences(root: Path, listed: dict[str, str]) -> list[str]:
    files = _files(root)
    complaints = [
        f'package.json: add ["{name}", "{name}"]' for name in sorted(files - set(listed))
    ]
    for target, source in sorted(listed.items()):
        if target not in files:
            complaints.append(f"package.json: {target} is listed, but there is no such file")
        elif source != target:
            complaints.append(f"package.json: {target} is fetched from {source}")
    return complaints


def _manifest_differences(root: Path, version: object, pinned: dict[str, str]) -> list[str]:
    try:
        manifest = Manifest(root / "manifest.py")
    except (Exception, SystemExit):  # noqa: BLE001 - the manifest's own check tells
        return []
    complaints = []
    wanted = manifest.facts.get("version")
    if version != wanted:
        complaints.append(f"package.json: version is {version!r}, manifest.py's is {wanted!r}")
    for name in sorted({*manifest.required, *pinned}):
        if name not in pinned:
            complaints.append(f'package.json: add ["{name}", "..."] to deps, with its version')
        elif name not in manifest.required:
            complaints.append(f"package.json: manifest.py does not require {name}")
        elif pinned[name] in (None, "", "latest"):
            complaints.append(f"package.json: {name} has no version in deps")
    return complaints


def package_text(root: Path) -> str:
    """What package.json should hold, one entry a line; the versions in `deps` stay as they are.

    Sources are relative to package.json, so a fork, a tag and a checkout install their own files.
    """
    deps = json.loads((root / "package.json").read_text())["deps"]
    version = Manifest(root / "manifest.py").facts["version"]
    urls = [[name, name] for name in sorted(_files(root))]
    listing = {"urls": _lines(urls), "deps": _lines(deps), "version": json.dumps(version)}
    return "{\n" + ",\n".join(f'  "{key}": {text}' for key, text in listing.items()) + "\n}\n"


def _lines(entries: list[list[str]]) -> str:
    return "[\n" + ",\n".join("    " + json.dumps(entry) for entry in entries) + "\n  ]"


if __name__ == "__main__":
    (ROOT / "package.json").write_text(package_text(ROOT))
