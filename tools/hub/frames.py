"""JSON in and out, strict enough that no caller can hurt the others with it."""

import json
import re

# Deeper nesting would meet the interpreter's recursion limit when the value is sent on,
# in the middle of somebody else's answer.
_DEPTH = 200
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def read(data):
    """The JSON value in some text, or in bytes that hold it in UTF-8.

    Raises:
        ValueError: not UTF-8, not JSON, NaN or Infinity, or nested deeper than 200 levels.
    """
    text = data if isinstance(data, str) else bytes(data).decode("utf-8")
    if text.count("[") + text.count("{") > _DEPTH and _depth(text) > _DEPTH:
        raise ValueError("nested too deeply")
    return json.loads(text, parse_constant=_refuse_constant)


def write(value):
    """The value as compact JSON in UTF-8 bytes; a lone surrogate becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _depth(text):
    deepest = depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")
