"""agent/HANDLERS.md: every block runs, and every option and every status has one."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from agent import command
from agent.registry import Handler
from host_tests.kit import Bench

PAGE = Path(__file__).parents[1] / "agent" / "HANDLERS.md"

BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
PROGRAM, TEST, *REST = BLOCKS
EXAMPLES = list(zip(REST[::2], REST[1::2], strict=True))


def name(example) -> str:
    return re.search(r'command\("(\w+)"', example[0])[1]


def program_with(handlers: str) -> str:
    """The page's program with other handlers, as the page says."""
    before, _, rest = PROGRAM.partition('@board.command("blink"')
    return before + handlers + rest[rest.index("\n\nboard.run()") :]


def test_the_first_program_and_its_test_run_as_printed(tmp_path):
    (tmp_path / "main.py").write_text(PROGRAM)
    scope = {"__file__": str(tmp_path / "test_main.py"), "__name__": "test_main"}
    exec(compile(TEST, scope["__file__"], "exec"), scope)
    scope["test_blink"]()


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_the_example_runs_as_printed(example, tmp_path):
    handlers, lines = example
    (tmp_path / "main.py").write_text(program_with(handlers))
    opened = re.match(r'# with Bench\("main.py", settings=(.*)\) as bench:\n', lines)
    settings = ast.literal_eval(opened[1]) if opened else None
    with Bench(str(tmp_path / "main.py"), settings=settings) as bench:
        exec(compile(lines, str(PAGE), "exec"), {"bench": bench})


def test_an_example_with_another_expectation_fails(tmp_path):
    (tmp_path / "main.py").write_text(PROGRAM)
    wrong = TEST.replace("[1, 0]", "[0, 1]")
    assert wrong != TEST
    scope = {"__file__": str(tmp_path / "test_main.py"), "__name__": "test_main"}
    exec(compile(wrong, scope["__file__"], "exec"), scope)
    with pytest.raises(AssertionError):
        scope["test_blink"]()


def shown_options() -> set[str]:
    calls = [node for node in ast.walk(ast.parse("\n".join(BLOCKS))) if isinstance(node, ast.Call)]
    commands = [call for call in calls if ast.unparse(call.func) == "board.command"]
    return {keyword.arg for call in commands for keyword in call.keywords}


def test_every_option_has_an_example():
    options = set(inspect.signature(Handler.__init__).parameters)
    options -= {"self", "name", "function", "options"}
    defaults = {name for name, value in vars(Handler).items() if not callable(value)}
    options |= {name for name in defaults if not name.startswith("_")}
    assert {"params", "timeout", "when_busy", "idempotent", "after_reset", "allow"} <= options
    assert shown_options() == options


def test_every_status_has_an_example():
    statuses = set(re.findall(r'"(\w+)"', command.__doc__))
    assert {"succeeded", "running", "interrupted"} <= statuses and len(statuses) == 11
    tests = "\n".join([TEST, *(lines for _, lines in EXAMPLES)])
    checked = {node.value for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Constant)}
    assert not statuses - checked


def test_every_status_is_explained():
    statuses = set(re.findall(r'"(\w+)"', command.__doc__))
    missing = [status for status in sorted(statuses) if f"**`{status}`**" not in PAGE.read_text()]
    assert not missing
