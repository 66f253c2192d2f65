"""`check`'s own judgement: packaging, and how it reports."""

import json

import pytest

from tools import check, environment, packaging
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
    (tmp_path / "manifest.py").write_text(MANIFEST)
    write_package(tmp_path, ["agent/__init__.py", "agent/clouds/one.py"])
    return tmp_path


def write_package(root, names, version="1.2.0"):
    urls = [[name, name] for name in names]
    (root / "package.json").write_text(json.dumps({"urls": urls, "deps": [], "version": version}))


def test_right_packaging_has_no_complaint(root):
    assert packaging.manifest_complaints(root) == []
    assert packaging.package_complaints(root) == []


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


def test_all_checks_run_and_one_failure_is_exit_1(monkeypatch, capsys):
    def unreachable():
        raise Problem("the network is gone")

    looks = {"first": lambda: ["wrong"], "second": unreachable, "third": list}
    monkeypatch.setattr(check, "CHECKS", looks)
    assert check.run(None) == 1
    lines = capsys.readouterr().out.splitlines()
    told = ["FAILED first", "wrong", "FAILED second", "the network is gone", "ok     third"]
    assert [line.strip() for line in lines] == told


def test_without_failure_exit_0(monkeypatch):
    monkeypatch.setattr(check, "CHECKS", {"only": list})
    assert check.run(None) == 0


def test_types_name_file_line_and_rule():
    diagnostic = {
        "file": str(check.ROOT / "agent/clock.py"),
        "severity": "error",
        "message": "Operator\n  not supported",
        "range": {"start": {"line": 4}},
        "rule": "reportOperatorIssue",
    }
    warning = {**diagnostic, "severity": "warning"}
    report = json.dumps({"generalDiagnostics": [diagnostic, warning]})
    sentence = "agent/clock.py:5: Operator not supported (reportOperatorIssue)"
    assert check._diagnostics(report) == [sentence]
    assert check._diagnostics("no node here")[0].startswith("pyright did not run: no node")


def test_each_extra_is_one_pin():
    for extra in ("esp32", "rp2", "node"):
        (requirement,) = environment.pinned(extra)
        assert "==" in requirement
