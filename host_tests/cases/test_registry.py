"""Parameter specifications and the options of a handler."""

from agent import optional
from agent.registry import Handler, Registry


def misfit(spec, value):
    return Handler("h", print, params={"p": spec}).misfit({"p": value})


def test_each_kind_of_specification_takes_what_fits():
    for spec, values in (
        (int, (0, -5, 1 << 40)),
        ((int, 1, 100), (1, 100)),
        (float, (1, 1.5)),
        ((float, 0, 1), (0, 0.5, 1)),
        (str, ("", "text")),
        ((str, 1, 3), ("a", "abc")),
        (bool, (True, False)),
        (list, ([], [1])),
        ((list, 1, 2), ([1], [1, 2])),
        (dict, ({}, {"a": 1})),
        ({"on", "off"}, ("on", "off")),
        ({1, 2}, (1, 2)),
        (optional(int, 50, 5000), (50, 5000, None)),
        (optional(str), ("x", None)),
        (optional({"a"}), ("a", None)),
    ):
        for value in values:
            assert misfit(spec, value) is None, (spec, value)


def test_each_kind_of_specification_names_what_came_and_what_fits():
    for spec, value, sentence in (
        (int, "5", "p: '5' came, an integer fits"),
        (int, True, "p: True came, an integer fits"),
        (int, 1.0, "p: 1.0 came, an integer fits"),
        ((int, 1, 100), 101, "p: 101 came, an integer from 1 to 100 fits"),
        (float, "x", "p: 'x' came, a number fits"),
        ((str, 1, 3), "abcd", "p: 'abcd' came, a string of length 1 to 3 fits"),
        (bool, 1, "p: 1 came, true or false fits"),
        (list, {}, "p: {} came, a list fits"),
        (dict, [], "p: [] came, an object fits"),
        ({"on", "off"}, "dim", "p: 'dim' came, one of 'off', 'on' fits"),
        ({"on", "off"}, ["on"], "p: ['on'] came, one of 'off', 'on' fits"),
        ({1, 2}, True, "p: True came, one of 1, 2 fits"),
        (optional(int, 50, 5000), 5, "p: 5 came, an integer from 50 to 5000 fits"),
        (int, None, "p: None came, an integer fits"),
    ):
        assert misfit(spec, value) == sentence, misfit(spec, value)


def test_what_is_missing_and_what_is_not_known_is_named():
    handler = Handler("blink", print, params={"times": int, "speed": optional(int)})
    assert handler.misfit({}) == "times is missing: an integer fits"
    assert handler.misfit({"times": 1}) is None
    assert handler.misfit({"times": 1, "spede": 2}) == "spede is not a parameter of blink"
    assert handler.misfit([1]) == "parameters: [1] came, an object fits"


def refusal(**options):
    try:
        Handler(options.pop("name", "h"), print, **options)
    except ValueError as e:
        return str(e)
    return None


def test_options_that_mean_nothing_are_refused_at_registration():
    assert "specification" in refusal(params={"p": 5})
    assert "specification" in refusal(params={"p": (int, 1)})
    assert "specification" in refusal(params={"p": set()})
    assert "specification" in refusal(params={"p": optional(bytes)})
    assert "specification" in refusal(params={"p": (bool, 0, 1)})
    assert "specification" in refusal(params={"p": {"a": int}})
    assert "timeout" in refusal(timeout=0)
    assert "timeout" in refusal(timeout="5")
    assert "when_busy" in refusal(when_busy="wait")
    assert "name" in refusal(name="")
    for key in ("timeuot", "misfit", "durable", "timeout_ms"):
        assert refusal(**{key: 1}) == key + " is no option of a command"
    assert refusal(timeout=0.5, when_busy="replace", params={}) is None


def test_a_name_can_be_taken_once():
    registry = Registry()
    registry.add("a", print)
    try:
        registry.add("a", print)
    except ValueError as e:
        assert "a already" in str(e)
    else:
        raise AssertionError("taken twice")
    assert registry.names() == ["a"] and registry.get("b") is None
