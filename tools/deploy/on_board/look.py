# Runs on a board where nothing else runs: what there is, and how much room.
import gc
import json
import os
import sys
import time


def _walk(path, found):
    try:
        entries = list(os.ilistdir(path))
    except OSError:
        return
    for entry in entries:
        name = path + "/" + entry[0]
        if entry[1] & 0x4000:
            _walk(name, found)
        else:
            found[name] = os.stat(name)[6]


def _size(path):
    try:
        status = os.stat(path)
        return None if status[0] & 0x4000 else status[6]
    except OSError:
        return None


def _frozen(name):
    # A file could be a half one, and hang the import: only the firmware is asked.
    path, sys.path[:] = sys.path[:], [".frozen"]
    try:
        module = __import__(name)
        return getattr(module, "__version__", "") or "unknown"
    except ImportError:
        return None
    finally:
        sys.path[:] = path


def _first_line(path):
    try:
        with open(path) as file:
            return file.readline().strip()
    except (OSError, ValueError):
        return None


def _look():
    gc.collect()
    memory = gc.mem_free()
    files = {}
    for folder in ("/agent", "/lib/agent", "/lib/umqtt", "/journal"):
        _walk(folder, files)
    for path in ("/agent.py", "/agent.mpy", "/main.held", "/settings.json", "/crashes"):
        size = _size(path)
        if size is not None:
            files[path] = size
    status = os.statvfs("/")
    return {
        "free": status[0] * status[3],
        "memory": memory,
        "epoch": time.gmtime(0)[0],
        "files": files,
        "main": _first_line("/main.held"),
        "agent": _frozen("agent"),
        "umqtt": _frozen("umqtt.simple"),
    }


print(json.dumps(_look()))
