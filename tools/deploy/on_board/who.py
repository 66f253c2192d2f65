# Runs on the board, in the middle of whatever ran there: it changes nothing and imports no file.
import gc
import json
import os
import sys


def _there(path):
    try:
        os.stat(path)
        return True
    except OSError:
        return False


def _unique_id():
    try:
        import machine

        return "".join("%02x" % byte for byte in machine.unique_id())
    except (ImportError, AttributeError):
        return ""


gc.collect()
print(
    json.dumps(
        {
            "machine": getattr(sys.implementation, "_machine", sys.platform),
            "version": list(sys.implementation[1])[:3],
            "mpy": getattr(sys.implementation, "_mpy", 0) & 0xFF,
            "unique_id": _unique_id(),
            "settings": _there("/settings.json"),
            "held": _there("/hold"),
        }
    )
)
