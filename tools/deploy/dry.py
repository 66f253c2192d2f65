"""What a deploy would do, as the command lines that a person could type; nothing is sent."""

from tools import boards
from tools.deploy import one, plan, ports
from tools.deploy.line import Step, shown
from tools.deploy.plan import Found, Order
from tools.report import Problem


def connects(words: list[str]) -> list[str]:
    """The boards' connect strings; the words themselves where no board is there to be named."""
    try:
        return ports.find(words)
    except Problem:
        return words


def show(strings: list[str], wish: one.Wish, board: str | None) -> int:
    """Prints the steps for boards as they come with their firmware."""
    facts = boards.load(board) if board else None
    found = Found(umqtt="frozen" if facts and facts["umqtt_frozen"] else None)
    print("# nothing is sent; a board where some of it is already gets what differs")
    if not facts:
        print("# umqtt.simple is copied only where the board has none; --board tells")
    if wish.settings is None and not wish.fleet:
        print("# no settings are given: a board keeps its own; for one without, the terminal asks")
    for connect in strings:
        steps = plan.steps(_order(connect, wish), found)
        for step in (plan.WHO, plan.HOLD, plan.LOOK, *steps, plan.FINISH):
            show_step(connect, step)
    if wish.wait_s:
        print(f"# its log is read for up to {wish.wait_s:g} s, until it says: online as")
    return 0


def _order(connect: str, wish: one.Wish) -> Order:
    secret, starter = one.files(connect)
    settings = wish.settings is not None or wish.fleet is not None
    return Order(
        wish.parcel, secret if settings else None, wish.main or starter, wish.main is not None
    )


def show_step(connect: str, step: Step) -> None:
    print(f"# {step.title}")
    print(shown(connect, step))
