"""`python3 -m tools VERB`: the one door to everything that runs on a person's machine.

Only the standard library is used here, and no syntax that is younger than Python 3.6: the sentence
about an old Python has to reach the person who has one.
"""

import argparse
import importlib
import sys

# verb: (its module, one line of help). A module offers add_arguments(parser) and run(args) -> int,
# and imports what is not in the standard library inside run(): only then does the environment stand.
VERBS = {
    "demo": (
        "tools.demo",
        "starts the hub and an agent on real MicroPython, sends commands, shows",
    ),
    "test": ("tools.test", "all tests, on CPython and on MicroPython; further words go to pytest"),
    "hub": ("tools.hub", "the stand-in cloud for development"),
    "agent": ("tools.agent", "runs an agent on MicroPython's unix port"),
    "send": ("tools.send", "sends one command, waits, prints its outcome"),
    "deploy": ("tools.deploy", "puts the agent on a board or many, through mpremote"),
    "logs": ("tools.logs", "what a board prints, over its resets"),
    "remove": ("tools.remove", "takes the agent off a board"),
    "size": ("tools.size", "what the agent costs a board, against its budgets"),
    "check": ("tools.check", "style, spelling, types against the boards' stubs, packaging"),
}


def usage():
    lines = ["usage: python3 -m tools VERB ...   (VERB --help says more)", ""]
    lines += ["  %-8s%s" % (verb, text) for verb, (_, text) in VERBS.items()]
    return "\n".join(lines)


def parse(verb, words):
    """Gives (the verb's module, its arguments); `--help` and wrong words end the process here."""
    module = importlib.import_module(VERBS[verb][0])
    parser = argparse.ArgumentParser(prog="python3 -m tools " + verb, description=VERBS[verb][1])
    module.add_arguments(parser)
    args, rest = parser.parse_known_args(words)
    # A verb that hands words on to another program says so; elsewhere an unknown word is a slip.
    if rest and not getattr(module, "HANDS_ON", False):
        parser.error("what is meant by: " + " ".join(rest))
    args.rest = rest
    return module, args


def carry_out(words):
    from tools import environment

    module, args = parse(words[0], words[1:])
    environment.enter(words)
    return module.run(args)


def main(words):
    """Runs one verb; the result is the process's exit code: 2 for a wrong call."""
    if sys.version_info < (3, 10):
        print("These tools need Python 3.10 or newer; this is %d.%d." % sys.version_info[:2])
        return 1
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return 0
    if words[0] not in VERBS:
        print("no verb %r; there are: %s" % (words[0], ", ".join(VERBS)), file=sys.stderr)
        return 2
    from tools.report import Problem

    try:
        return carry_out(words)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return problem.code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
