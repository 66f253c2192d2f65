"""What the two ways onto a board say of the agent: `manifest.py` (frozen) and `package.json` (mip).

Formats: MicroPython's documentation, reference/manifest and reference/packages.
"""

import json
from pathlib import Path


class Manifest:
    """What a manifest asks for, written down instead of done."""

    def __init__(self, path: Path):
        """Raises what the manifest raises; NameError for a word that is not of its language."""
        self.facts: dict[str, object] = {}
        self.packages: list[str] = []
        exec(compile(path.read_bytes(), str(path), "exec"), self._language())

    def _language(self) -> dict[str, object]:
        words = ("require", "module", "include", "add_library", "freeze", "c_module", "options")
        language: dict[str, object] = dict.fromkeys(words, self._pass_over)
        return {**language, "metadata": self._metadata, "package": self._package}

    def _metadata(self, **facts: object) -> None:
        self.facts.update(facts)

    def _package(self, name: str, *_: object, **__: object) -> None:
        self.packages.append(name)

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
    return complaints


def package_complaints(root: Path) -> list[str]:
    """Sentences on where package.json differs from agent/ and from manifest.py's version."""
    try:
        package = json.loads((root / "package.json").read_text())
        listed = dict(package.get("urls", []))
        version = package.get("version")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return [f"package.json: {error}"]
    return [*_differences(root, listed), *_version_complaints(root, version)]


def _differences(root: Path, listed: dict[str, str]) -> list[str]:
    files = {str(file.relative_to(root)) for file in (root / "agent").rglob("*.py")}
    complaints = [
        f'package.json: add ["{name}", "{name}"]' for name in sorted(files - set(listed))
    ]
    for target, source in sorted(listed.items()):
        if target not in files:
            complaints.append(f"package.json: {target} is listed, but there is no such file")
        elif source != target:
            complaints.append(f"package.json: {target} is fetched from {source}")
    return complaints


def _version_complaints(root: Path, version: object) -> list[str]:
    try:
        wanted = Manifest(root / "manifest.py").facts.get("version")
    except (Exception, SystemExit):  # noqa: BLE001 - the manifest's own check tells
        return []
    if version == wanted:
        return []
    return [f"package.json: version is {version!r}, manifest.py's is {wanted!r}"]
