# Runs on the board: after the next reset nothing starts there until `finish.py` has run.
#
# A module that was copied by half can hang the board in its import, beyond the reach of Ctrl-C. So
# the program moves out of the way as well: the mark alone is read by the agent, once it is loaded.
import os


def _there(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


open("/hold", "w").close()
if _there("/main.py"):
    if _there("/main.held"):  # left by a deploy that was cut off; main.py is younger
        os.remove("/main.held")
    os.rename("/main.py", "/main.held")
if not _there("/lib"):
    os.mkdir("/lib")
