"""What the handlers take, told to the cloud in JSON Schema's words."""

from .registry import is_optional

_TYPES = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    list: "array",
    dict: "object",
}

_SIZES = {str: "Length", list: "Items", dict: "Properties"}


def describe(handlers):
    """Return {command name: {parameter: schema}}, with None for one that takes anything.

    A parameter that may be absent has `"optional": true`, which is no word of JSON Schema: there
    it is said of the object around.
    """
    found = {}
    for name, handler in handlers.items():
        params = handler.params
        found[name] = None if params is None else {key: _schema(params[key]) for key in params}
    return found


def _schema(spec):
    if is_optional(spec):
        return dict(_schema(spec[1]), optional=True)
    if isinstance(spec, tuple):
        kind, low, high = spec
        bound = _SIZES.get(kind) or "imum"
        return {"type": _TYPES[kind], "min" + bound: low, "max" + bound: high}
    if isinstance(spec, (set, frozenset, list)):
        return {"enum": sorted(spec, key=repr)}
    return {"type": _TYPES[spec]}
