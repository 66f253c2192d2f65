# Runs on the board before the start: the agent loads, and its settings are what it wants.
import json

from agent import settings
from agent.command import SettingsError


def _complaint():
    try:
        settings.check(settings.read("/settings.json"))
    except SettingsError as e:
        return str(e)
    return ""


print(json.dumps({"settings": _complaint()}))
