"""`check`: how it reports, and what it makes of other tools' words."""

import json

from tools import check, environment
from tools.report import Problem


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
