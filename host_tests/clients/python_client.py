"""An application on DeviceHive's own Python library: it sends commands and hears what came of them.

    python python_client.py URL LOGIN PASSWORD DEVICE COMMANDS

COMMANDS is JSON: a list of [name, parameters, lifetime]. Each thing that happens is printed as a
line of JSON; the end is that every command was updated or that the login was refused.
"""

import json
import sys

from devicehive import DeviceHive, Handler
from devicehive.api_response import ApiResponseError


def tell(**fields):
    """Print a line of JSON."""
    print(json.dumps(fields), flush=True)


class Application(Handler):
    """What the library calls back; its methods' names are the library's."""

    def __init__(self, api, device_id, commands):
        super().__init__(api)
        self._device_id = device_id
        self._commands = commands
        self._open = set()

    def handle_connect(self):
        device = self.api.get_device(self._device_id)
        tell(event="device", id=device.id, name=device.name)
        device.subscribe_update_commands()
        device.subscribe_notifications()
        for name, parameters, lifetime in self._commands:
            sent = device.send_command(name, parameters=parameters, lifetime=lifetime)
            self._open.add(sent.id)
            tell(event="sent", id=sent.id, command=sent.command)

    def handle_command_update(self, command):
        tell(event="update", id=command.id, status=command.status, result=command.result)
        self._open.discard(command.id)
        if not self._open:
            listed = self.api.list_commands(self._device_id, sort_field="timestamp")
            tell(event="listed", commands=[[one.command, one.status] for one in listed])
            self.api.disconnect()

    def handle_notification(self, notification):
        tell(
            event="notification",
            name=notification.notification,
            parameters=notification.parameters,
        )


def main():
    url, login, password, device_id, commands = sys.argv[1:]
    hive = DeviceHive(Application, device_id, json.loads(commands))
    try:
        hive.connect(url, login=login, password=password)
    except ApiResponseError as error:
        tell(event="refused", code=error.code, error=error.error)


main()
