"""Taking the agent off a board: the same way in as a deploy's, and other steps."""

from tools.deploy import dry, one, parcel, plan
from tools.deploy.line import Line, Step
from tools.deploy.plan import Found

_FILES = ("/settings.json", "/crashes")
_FOLDERS = ("/lib/agent", "/agent")


def remove(line: Line, everything: bool) -> str:
    """Takes it off; gives what came of it in a few words. Raises Problem, which says what to do."""
    line.run(plan.WHO)
    with one.held(line):
        found = Found(**line.ask(plan.LOOK))
        steps = clearing(found, everything)
        for step in steps:
            line.run(step)
    one.start(line, 0)
    own = found.main not in (None, parcel.starter_mark()) and not everything
    kept = "; its own main.py stays" if own else ""
    return ("the agent is gone" if steps else "there was no agent") + kept


def clearing(found: Found, everything: bool) -> list[Step]:
    """The steps that take off what is there."""
    files = [path for path in _FILES if path in found.files]
    if found.main is not None and (everything or found.main == parcel.starter_mark()):
        files.append("/main.held")
    folders = [*_FOLDERS, *(("/lib/umqtt", "/journal") if everything else ())]
    there = [each for each in folders if any(path.startswith(each + "/") for path in found.files)]
    steps = []
    if files:
        words = ("resume", "fs", "rm", *(":" + path for path in files))
        steps.append(Step(f"removing {', '.join(files)}", words))
    for folder in there:
        steps.append(Step(f"removing {folder}", ("resume", "fs", "rm", "-r", ":" + folder)))
    return steps


def show(connects: list[str], everything: bool) -> int:
    """Prints the steps for boards that were deployed to with the starter; sends nothing."""
    folders = ["/lib/agent/x", *(("/lib/umqtt/x", "/journal/x") if everything else ())]
    found = Found(files=dict.fromkeys(["/settings.json", *folders], 0), main=parcel.starter_mark())
    print("# nothing is sent; what is not there is passed over")
    for connect in connects:
        for step in (plan.WHO, plan.HOLD, plan.LOOK, *clearing(found, everything), plan.FINISH):
            dry.show_step(connect, step)
    return 0
