"""Handlers by name, their options, and the checks of what a command brings for them."""

_TYPES = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
_TYPES[list] = "a list"
_TYPES[dict] = "an object"

_POLICIES = ("queue", "replace", "reject")


class _Optional:
    def __init__(self, spec):
        self.spec = spec


def optional(kind, *bounds):
    """Return the specification of a parameter that may be absent or null.

    `optional(int, 50, 5000)`, `optional(str)`, `optional({"on", "off"})`.
    """
    return _Optional((kind,) + bounds if bounds else kind)


def _is_a(value, kind):
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def describe(spec):
    """Return in words what fits a parameter's specification."""
    if isinstance(spec, _Optional):
        return describe(spec.spec)
    if isinstance(spec, tuple):
        sized = " of length" if spec[0] in (str, list, dict) else " from"
        return "%s%s %s to %s" % (_TYPES[spec[0]], sized, spec[1], spec[2])
    if isinstance(spec, (set, frozenset, list)):
        return "one of " + ", ".join(sorted(repr(value) for value in spec))
    return _TYPES[spec]


def fits(value, spec):
    """Return whether a parameter's value fits its specification."""
    if isinstance(spec, _Optional):
        return value is None or fits(value, spec.spec)
    if isinstance(spec, tuple):
        if not _is_a(value, spec[0]):
            return False
        return spec[1] <= (len(value) if spec[0] in (str, list, dict) else value) <= spec[2]
    if isinstance(spec, (set, frozenset, list)):
        # A list or a dict can't be looked up in a set, and True is 1 there.
        return any(type(value) is type(one) and value == one for one in spec)
    return _is_a(value, spec)


def _check_spec(spec):
    if isinstance(spec, _Optional):
        spec = spec.spec
    if isinstance(spec, tuple):
        known = len(spec) == 3 and spec[0] in _TYPES and spec[0] is not bool
    elif isinstance(spec, (set, frozenset, list)):
        known = len(spec) > 0
    else:
        known = spec in _TYPES
    if not known:
        raise ValueError(
            "%r is no specification: use a type, (type, low, high), a set of values, "
            "or optional(...) of one of these" % (spec,)
        )


class Handler:
    """A registered function and how it wants to be run."""

    def __init__(self, name, function, params=None, timeout=None, when_busy="queue", **rest):
        if not isinstance(name, str) or not name:
            raise ValueError("a command's name is a string that is not empty, not %r" % (name,))
        if when_busy not in _POLICIES:
            raise ValueError("when_busy is one of %s, not %r" % (", ".join(_POLICIES), when_busy))
        if timeout is not None and not (_is_a(timeout, float) and timeout > 0):
            raise ValueError("timeout is a number of seconds above 0, not %r" % (timeout,))
        for key in params or ():
            _check_spec(params[key])
        self.name = name
        self.function = function
        self.params = params
        self.timeout_ms = None if timeout is None else int(timeout * 1000)
        self.when_busy = when_busy
        self.idempotent = rest.pop("idempotent", False)
        self.after_reset = rest.pop("after_reset", None)
        self.allow = rest.pop("allow", None)
        if rest:
            raise ValueError("%s is no option of a command" % ", ".join(sorted(rest)))

    @property
    def durable(self):
        """Whether the journal must keep what it takes to go on after a reset."""
        return self.idempotent or self.after_reset is not None

    def misfit(self, parameters):
        """Return in a sentence what is wrong with the parameters, or None if they fit."""
        if self.params is None:
            return None
        if not isinstance(parameters, dict):
            return "parameters: %r came, an object fits" % (parameters,)
        for key in self.params:
            spec = self.params[key]
            if key not in parameters:
                if not isinstance(spec, _Optional):
                    return "%s is missing: %s fits" % (key, describe(spec))
            elif not fits(parameters[key], spec):
                return "%s: %r came, %s fits" % (key, parameters[key], describe(spec))
        for key in parameters:
            if key not in self.params:
                return "%s is not a parameter of %s" % (key, self.name)
        return None


class Registry:
    """The handlers that the owner registered."""

    def __init__(self):
        self._handlers = {}

    def add(self, name, function, **options):
        """Register a function for a command name; the options are those of `Handler`.

        Raises ValueError for a name that is taken and for options that mean nothing.
        """
        if name in self._handlers:
            raise ValueError("there is a handler for %s already" % name)
        self._handlers[name] = Handler(name, function, **options)

    def get(self, name):
        """Return the handler of that name, or None."""
        return self._handlers.get(name)

    def names(self):
        """Return the names that have a handler, sorted."""
        return sorted(self._handlers)
