# Runs on the board: lets its program start again, and starts it.
import os
import time

import machine


def _there(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def _remove(path):
    if _there(path):
        os.remove(path)


_remove("/crashes")
if _there("/main.held"):
    _remove("/main.py")  # a FAT file system does not rename over a file
    os.rename("/main.held", "/main.py")
_remove("/hold")
print("restarting")
time.sleep_ms(100)
machine.reset()
