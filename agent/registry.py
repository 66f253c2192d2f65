"""Handlers by name, their options, and the checks of what a command brings for them."""

_TYPES = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def optional(kind, *bounds):
    """Return the specification of a parameter that may be absent or null.

    `optional(int, 50, 5000)`, `optional(str)`, `optional({"on", "off"})`.
    """
    # It is known by its first item, which no one else's tuple has.
    return optional, ((kind,) + bounds if bounds else kind)


def is_optional(spec):
    """Return whether a specification is one of `optional`."""
    return isinstance(spec, tuple) and spec[:1] == (optional,)


def describe(spec):
    """Return in words what fits a parameter's specification; raises ValueError for none."""
    try:
        if is_optional(spec):
            return describe(spec[1])
        if isinstance(spec, tuple):
            kind, low, high = spec
            if kind is not bool:
                sized = " of length" if kind in (str, list, dict) else " from"
                return "%s%s %s to %s" % (_TYPES[kind], sized, low, high)
        elif not isinstance(spec, (set, frozenset, list)):
            return _TYPES[spec]
        elif spec:
            return "one of " + ", ".join(sorted(map(repr, spec)))
    except (KeyError, TypeError, ValueError):
        pass
    raise ValueError(
        "%r is no specification: use a type, (type, low, high), a set of values, "
        "or optional(...) of one of these" % (spec,)
    )


def fits(value, spec):
    """Return whether a parameter's value fits its specification."""
    if is_optional(spec):
        return value is None or fits(value, spec[1])
    if isinstance(spec, tuple):
        kind, low, high = spec
        return (
            fits(value, kind)
            and low <= (len(value) if kind in (str, list, dict) else value) <= high
        )
    # True is 1 in Python, and nowhere else.
    if isinstance(spec, (set, frozenset, list)):
        for one in spec:
            if type(value) is type(one) and value == one:
                return True
        return False
    if isinstance(value, bool):
        return spec is bool
    return isinstance(value, (int, float) if spec is float else spec)


class Handler:
    """A registered function and how it wants to be run."""

    # The other options; one that is not given takes no room in a handler.
    params: "dict | None" = None
    after_reset = allow = None
    idempotent = False
    when_busy = "queue"

    def __init__(self, name, function, timeout=None, **options):
        if not isinstance(name, str) or not name:
            raise ValueError("a command's name is a string that is not empty, not %r" % (name,))
        if timeout is not None and not (fits(timeout, float) and timeout > 0):
            raise ValueError("timeout is a number of seconds above 0, not %r" % (timeout,))
        for key, value in options.items():
            # No default can be called, unlike the methods and what stands for no attribute.
            if callable(getattr(Handler, key, callable)):
                raise ValueError("%s is no option of a command" % key)
            setattr(self, key, value)
        if self.when_busy not in ("queue", "replace", "reject"):
            text = "when_busy is one of queue, replace, reject, not %r"
            raise ValueError(text % (self.when_busy,))
        for key in self.params or ():
            describe(self.params[key])  # raises what is wrong with it
        self.name = name
        self.function = function
        self.timeout_ms = None if timeout is None else int(timeout * 1000)
        # Whether the journal must keep what it takes to go on after a reset.
        self.durable = self.idempotent or self.after_reset is not None

    def misfit(self, parameters):
        """Return in a sentence what is wrong with the parameters, or None if they fit."""
        if self.params is None:
            return None
        if not isinstance(parameters, dict):
            return "parameters: %r came, an object fits" % (parameters,)
        for key in self.params:
            spec = self.params[key]
            if key not in parameters:
                if not is_optional(spec):
                    return "%s is missing: %s fits" % (key, describe(spec))
            elif not fits(parameters[key], spec):
                return "%s: %r came, %s fits" % (key, parameters[key], describe(spec))
        for key in parameters:
            if key not in self.params:
                return "%s is not a parameter of %s" % (key, self.name)
        return None


class Registry(dict):
    """The handlers that the owner registered, by name."""

    closed: "str | None" = None  # why there are none although the owner registered some

    def add(self, name, function, **options):
        """Register a function for a command name; the options are those of `Handler`.

        Raises ValueError for a name that is taken and for options that mean nothing.
        """
        if name in self:
            raise ValueError("there is a handler for %s already" % name)
        self[name] = Handler(name, function, **options)

    def names(self):
        """Return the names that have a handler, sorted."""
        return sorted(self)
