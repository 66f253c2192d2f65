"""Power cuts on littlefs itself: the journal is whole after each of them."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tools import interpreters

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "host_tests" / "littlefs_script.py"
COMMANDS = 12


@pytest.mark.parametrize("bits", [32, 64])
def test_p1_p3_a_power_cut_after_every_block_write_loses_nothing(bits):
    argv = interpreters.find(bits).argv(SCRIPT, COMMANDS, heap="2m")
    env = {**os.environ, "MICROPYPATH": f"{ROOT}:.frozen"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
    summary = re.search(r"^cuts (\d+) faults (\d+)$", done.stdout, re.M)
    assert summary, done.stdout + done.stderr
    cuts, faults = map(int, summary.groups())
    assert faults == 0, done.stdout
    # Two writes a command, each of several operations on the disk.
    assert cuts > 4 * COMMANDS
