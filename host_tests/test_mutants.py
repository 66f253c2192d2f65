"""The cases notice when a promise is broken: each patch in mutants/ takes one check away.

A patch begins with a sentence that says which promise it breaks, and how. Its case files must
fail, and they must pass without it.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PATCHES = sorted(Path(__file__).with_name("mutants").glob("*.patch"))
NEEDED = ("agent", "host_tests", "tools", "pyproject.toml", "manifest.py")

# A mutant that never ends is caught as well: by the bound of a test, or by that of the whole run.
CASE_S = 10
RUN_S = 45


class Result(NamedTuple):
    """What became of the case files: all passed, or one failed, or neither of both."""

    passed: bool
    failed: bool
    output: str


def copied(target: Path) -> Path:
    """The parts of the checkout that the cases need, in a folder of their own."""
    target.mkdir()
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name)  # its compiled files, too: they save time
        else:
            shutil.copyfile(source, target / name)
    (target / ".cache").symlink_to(ROOT / ".cache")
    return target


def apply(patch: Path, tree: Path) -> None:
    """Applies a patch; AssertionError where it does not fit the checkout any more."""
    before = {file: file.read_bytes() for file in (tree / "agent").rglob("*.py")}
    # In a folder that happens to lie within a repository, git would look for the files there.
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.resolve().parent)}
    done = subprocess.run(
        ["git", "apply", str(patch)], cwd=tree, env=env, capture_output=True, text=True
    )
    assert not done.returncode, (
        f"mutants/{patch.name} no longer applies: the lines it changes were rewritten. "
        f"Make it again for what stands there now. git says: {done.stderr.strip()}"
    )
    changed = [file for file, content in before.items() if file.read_bytes() != content]
    assert len(changed) == 1, f"mutants/{patch.name} changes {len(changed)} files of agent/"


def cases(module: str = "") -> list[str]:
    """The case files, that of the module first: it fails soonest."""
    found = sorted((ROOT / "host_tests/cases").glob("test_*.py"))
    found.sort(key=lambda file: file.stem != f"test_{module}")
    return [f"host_tests/cases/{file.name}" for file in found]


def run(tree: Path, files: list[str]) -> Result:
    """Runs case files of a tree on CPython, up to the first failure."""
    words = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--only-cpython",
        "-o",
        f"case_seconds={CASE_S}",
    ]
    argv = [sys.executable, "-m", "pytest", *words, *files]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    # On CI a run without MicroPython counts as failed, which is not what is asked here.
    for name in ("CI", "PYTEST_ADDOPTS"):
        env.pop(name, None)
    try:
        done = subprocess.run(
            argv, cwd=tree, env=env, capture_output=True, text=True, timeout=RUN_S
        )
    except subprocess.TimeoutExpired:
        return Result(False, True, f"stopped after {RUN_S} s")
    output = done.stdout + done.stderr
    # With -x a file that can't be collected gives the exit code of a failed test.
    failed = done.returncode == 1 and re.search(r"^FAILED host_tests/cases/", output, re.M)
    return Result(done.returncode == 0, bool(failed), output)


def run_mutant(patch: Path | None, folder: Path) -> Result:
    tree = copied(folder / "tree")
    if patch is None:
        return run(tree, cases())
    apply(patch, tree)
    return run(tree, cases(patch.name.partition("-")[0]))


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """Runs what was selected, one on each processor; gives {patch, or None: its future Result}."""
    items = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = [spec.params["mutant"] for spec in items if spec and "mutant" in spec.params]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        places = {patch: tmp_path_factory.mktemp("mutant") for patch in chosen}
        yield {patch: pool.submit(run_mutant, patch, place) for patch, place in places.items()}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("mutant", PATCHES, ids=lambda patch: patch.stem)
def test_a_check_that_is_taken_away_is_missed(mutant, results):
    result = results[mutant].result()
    assert not result.passed, f"no case notices mutants/{mutant.name}: {sentence(mutant)}"
    assert result.failed, f"mutants/{mutant.name} leaves nothing to test:\n{result.output}"


@pytest.mark.parametrize("mutant", [None], ids=["without"])
def test_the_same_cases_pass(mutant, results):
    result = results[mutant].result()
    assert result.passed, result.output
    assert re.search(r"\d\d+ passed", result.output), result.output
    assert "0 on MicroPython 64-bit, 0 on MicroPython 32-bit" in result.output


def test_a_tree_that_cannot_be_loaded_is_no_failure_of_a_case(tmp_path):
    tree = copied(tmp_path / "tree")
    (tree / "agent/command.py").write_text("import nothing_of_that_name\n")
    result = run(tree, cases("runner"))
    assert (result.passed, result.failed) == (False, False), result.output


def test_a_patch_that_does_not_fit_any_more_says_so(tmp_path):
    tree = copied(tmp_path / "tree")
    apply(PATCHES[0], tree)
    with pytest.raises(AssertionError, match=f"{PATCHES[0].name} no longer applies"):
        apply(PATCHES[0], tree)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_each_patch_names_its_promise(patch):
    assert re.match(r"P[1-4]: .*\.$", sentence(patch)), sentence(patch)


def sentence(patch: Path) -> str:
    return patch.read_text().partition("\n")[0]
