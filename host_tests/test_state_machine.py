"""The contract under everything that may happen to a board, in any order.

A failure names its seed and the steps that led to it, as calls of a Machine.

    HEED_STEPS=100000 python3 -m tools test -s host_tests/test_state_machine.py

is the long form; HEED_SEED=7 begins at another seed. HEED_SHRINK=1 looks for a shorter way to the
failure, for up to five minutes (with `-o faulthandler_timeout=0`).
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, configuration, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from host_tests.state_machine import ROOMY, Machine
from tools.places import CACHE

STEPS = int(os.environ.get("HEED_STEPS", "10000"))
SEED = int(os.environ.get("HEED_SEED", "1"))

# Steps of one test, so that none takes minutes, and of one machine.
ROUND = 5000
LENGTH = 100

PHASES = [Phase.explicit, Phase.generate]
if "HEED_SHRINK" in os.environ:
    PHASES.append(Phase.shrink)

configuration.set_hypothesis_home_dir(CACHE / "hypothesis")

seeds = range(SEED, SEED + -(-STEPS // ROUND))


@pytest.mark.parametrize("number", seeds, ids="seed-{}".format)
def test_p1_p2_p3_p4_hold_whatever_happens(number):
    Machine.steps = 0
    bounds = settings(
        # Some machines run out of random bytes before their last step.
        max_examples=max(1, min(STEPS, ROUND) * 6 // 5 // LENGTH),
        stateful_step_count=LENGTH,
        deadline=None,
        database=None,
        print_blob=True,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(Machine), settings=bounds)
    finally:
        print("HEED_SEED=%d: %d steps" % (number, Machine.steps))


@pytest.fixture
def machine():
    """Gives a machine that is switched on; at the end all is healed and the contract looked at."""
    made = Machine()
    made.begin(ROOMY)
    yield made
    made.teardown()


def restart(machine, amnesia=False, refusals=0):
    machine.reset(away=1000, amnesia=amnesia, refusals=refusals, times=1)
    machine.contract_holds()


def test_p3_a_command_that_waited_at_a_reset_comes_again_however_old_its_timestamp(machine):
    machine.insert_behind(count=1, kind="slow", lifetime=None, shift=-3600000, ms=10)
    restart(machine)
    machine.wait(31000)
    waited = machine.entries[-1]["id"]
    assert [one["status"] for one in machine.cloud.accepted[waited]] == ["succeeded"]


def test_p4_a_command_of_the_board_itself_is_answered_whatever_the_boards_clock_says(machine):
    for _ in range(4):
        machine.insert_many(count=20, kind="nobody")
    assert machine.board._journal._floor > 0
    restart(machine, amnesia=True, refusals=3)
    machine.submit("plain", None)
    assert machine.local[0].done()


def test_p3_after_a_reset_no_command_is_forgotten_while_there_is_room(machine):
    machine.insert_behind(count=1, kind="plain", lifetime=None, shift=0, ms=11000)
    restart(machine)
    machine.insert_many(count=2, kind="plain")
    machine.contract_holds()
    assert machine.board._journal._floor < 0
