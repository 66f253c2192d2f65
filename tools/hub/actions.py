"""DeviceHive's actions: what can be asked, what it takes, and what is answered.

One table serves every way in. MQTT (and any other frame transport) calls `answer` with a
frame `{"action", "requestId", ...}`; REST calls `perform` and makes a response of its own.
Fields, codes and texts are those of the server's websocket handlers.
"""

import re
from functools import partial

from . import fields
from .points import Traps
from .refusal import (
    DENIED,
    INVALID_PARAMETERS,
    MALFORMED_JSON,
    Forgotten,
    Refusal,
)
from .stamp import write as write_time
from .subscriptions import Subscriptions

API_VERSION = "4.1.0"

_DEVICE_ID = re.compile(r"[a-zA-Z0-9-]+")
_DEVICE_ID_MAX = 48
# The server knows no such limit; one session must not fill the memory.
_ASKED_MAX = 1000
_COMMAND_SORT = {
    "timestamp": lambda record: record.timestamp,
    "command": lambda record: record.name or "",
    "status": lambda record: str(record.status or ""),
}
_NOTIFICATION_SORT = {
    "timestamp": lambda record: record.timestamp,
    "notification": lambda record: record.name,
}


class Actions:
    """Performs actions on a Store for a Session.

    Arguments:
        store: the Store. tokens: its Tokens.

    Attributes:
        rest: the REST address that `server/info` tells. traps: the Traps that are on.
        subscriptions: makes what is subscribed to.
    """

    def __init__(self, store, tokens):
        self._store = store
        self._tokens = tokens
        self.rest = ""
        self.traps = Traps()
        self.subscriptions = Subscriptions(store, self.device)
        # The function of each action and the right that it needs, None for no right at all.
        self._table = {
            "server/info": (self._server_info, None),
            "token": (self._token, None),
            "token/refresh": (self._token_refresh, None),
            "token/create": (self._token_create, "ManageToken"),
            "authenticate": (self._authenticate, None),
            "device/save": (self._device_save, "RegisterDevice"),
            "device/get": (self._device_get, "GetDevice"),
            "device/list": (self._device_list, "GetDevice"),
            "device/delete": (self._device_delete, "RegisterDevice"),
            "command/insert": (self._command_insert, "CreateDeviceCommand"),
            "command/update": (self._command_update, "UpdateDeviceCommand"),
            "command/get": (self._command_get, "GetDeviceCommand"),
            "command/list": (self._command_list, "GetDeviceCommand"),
            "command/subscribe": (self._command_subscribe, "GetDeviceCommand"),
            "command/unsubscribe": (partial(self._unsubscribe, "command"), "GetDeviceCommand"),
            "notification/insert": (self._notification_insert, "CreateDeviceNotification"),
            "notification/get": (self._notification_get, "GetDeviceNotification"),
            "notification/list": (self._notification_list, "GetDeviceNotification"),
            "notification/subscribe": (
                partial(self._subscribe, "notification/insert"),
                "GetDeviceNotification",
            ),
            "notification/unsubscribe": (
                partial(self._unsubscribe, "notification"),
                "GetDeviceNotification",
            ),
            "subscription/list": (self._subscription_list, "GetDeviceCommand"),
        }

    def answer(self, session, frame):
        """The answer to a frame: a dict, or None where DeviceHive stays silent.

        Arguments:
            session: the Session it came from. frame: any JSON value.
        """
        if not isinstance(frame, dict):
            return malformed()
        action, request_id = frame.get("action"), frame.get("requestId")
        try:
            result = self.perform(session, action, frame)
        except Forgotten:
            # The server throws inside a stage that nobody watches: no answer, ever.
            return None
        except Refusal as refusal:
            return {"action": action, "requestId": request_id, **_refused(refusal)}
        return {"action": action, "requestId": request_id, "status": "success", **result}

    def perform(self, session, action, request):
        """Do one action and return the fields of its answer.

        Arguments:
            session: the Session on whose behalf. action: its name. request: its fields.

        Raises:
            Refusal: with the code and the text that DeviceHive answers.
        """
        known = self._table.get(action) if isinstance(action, str) else None
        if known is None:
            raise Refusal(400, f"Illegal argument: {action}")
        function, needed = known
        if needed is not None:
            session.demand(needed)
        self.traps.ask("performs", action, request)
        return function(session, request)

    def device(self, principal, device_id):
        """The Device of that id, if it exists and the principal reaches it; else Refusal."""
        if not isinstance(device_id, str) or not device_id:
            raise Refusal(400, "Device id is wrong or empty")
        device = self._store.devices.get(device_id)
        if device is None and principal.admin:
            raise Refusal(404, f"Device with such deviceId = {device_id} not found")
        if device is None or not principal.reaches(device):
            raise Refusal(403, DENIED)
        return device

    def _server_info(self, _session, _request):
        now = write_time(self._store.now_ms())
        return {
            "info": {
                "apiVersion": API_VERSION,
                "serverTimestamp": now,
                "restServerUrl": self.rest,
            }
        }

    def _token(self, _session, request):
        user = self._tokens.login(request.get("login"), request.get("password"))
        return self._tokens.pair(user)

    def _token_refresh(self, _session, request):
        return self._tokens.refresh(request.get("refreshToken"))

    def _token_create(self, _session, request):
        payload = dict(fields.body(request, "payload"))
        for key in ("expiration", "refreshExpiration"):
            payload[key] = fields.time_ms(payload.get(key))
        return self._tokens.create(payload)

    def _authenticate(self, session, request):
        # A failure leaves an earlier success as it was. The expiry is looked at here and
        # never again: a connection outlives its token.
        session.principal = self._tokens.principal(request.get("token"))
        return {}

    def _device_save(self, session, request):
        device_id = request.get("deviceId")
        if not isinstance(device_id, str) or not device_id:
            raise Refusal(400, "Device id is wrong or empty")
        if not _DEVICE_ID.fullmatch(device_id):
            raise Refusal(400, "Device Id can only contain letters, digits and dashes.")
        if len(device_id) > _DEVICE_ID_MAX:
            raise Refusal(400, f"Device id is longer than {_DEVICE_ID_MAX} characters")
        body = fields.body(request, "device")
        known = self._store.devices.get(device_id)
        if known is not None and not session.principal.reaches(known):
            raise Refusal(403, "No access to device")
        wanted = self._device_fields(session.principal, body, known)
        self._store.save_device(device_id, **wanted)
        return {}

    def _device_fields(self, principal, body, known):
        network = fields.number(body.get("networkId"))
        device_type = fields.number(body.get("deviceTypeId"))
        if network is None:
            network = (
                known.network if known else _first(self._store.networks, principal.reaches_network)
            )
        if device_type is None:
            device_type = (
                known.type if known else _first(self._store.types, principal.reaches_type)
            )
        if network not in self._store.networks or device_type not in self._store.types:
            raise Refusal(400, INVALID_PARAMETERS)
        if not principal.reaches_network(network):
            raise Refusal(403, "No access to network!")
        if not principal.reaches_type(device_type):
            raise Refusal(403, DENIED)
        # Absent data wipes what was stored; a name or a flag that is absent stays.
        return {
            "name": fields.name(body.get("name")),
            "data": body.get("data"),
            "network": network,
            "type": device_type,
            "blocked": body.get("isBlocked"),
        }

    def _device_get(self, session, request):
        return {"device": fields.device(self._device(session, request))}

    def _device_list(self, session, request):
        name, network = request.get("name"), fields.number(request.get("networkId"))
        found = [
            fields.device(device)
            for device in self._store.devices.values()
            if session.principal.reaches(device)
            and name in (None, device.name)
            and network in (None, device.network)
        ]
        skip = fields.number(request.get("skip"), 0)
        return {"devices": found[skip:][: fields.number(request.get("take"), 20)]}

    def _device_delete(self, session, request):
        self._store.delete_device(self._device(session, request))
        return {}

    def _device(self, session, request):
        return self.device(session.principal, request.get("deviceId"))

    def _command_insert(self, session, request):
        device = self._device(session, request)
        body = fields.body(request, "command")
        command = self._store.insert_command(
            device,
            session.principal.user,
            fields.name(body.get("command")),
            fields.time_ms(body.get("timestamp")),
            # Passed on as they came: the server reads neither the lifetime nor the status.
            **{key: body.get(key) for key in ("parameters", "lifetime", "status", "result")},
        )
        return {"command": fields.inserted(command)}

    def _command_update(self, session, request):
        device, command_id = self._command_key(session, request)
        body = fields.body(request, "command")
        command = self._store.command(device.id, command_id)
        if command is None:
            raise Forgotten(404, f"Command with id = {command_id} not found")
        self._store.update_command(command, body.get("status"), body.get("result"))
        return {}

    def _command_get(self, session, request):
        device, command_id = self._command_key(session, request)
        command = self._store.command(device.id, command_id)
        if command is None:
            raise Refusal(404, f"Command with id = {command_id} not found")
        return {"command": fields.command(command)}

    def _command_key(self, session, request):
        device = self._device(session, request)
        return device, _number(request, "commandId", "Command id is wrong or empty")

    def _command_list(self, session, request):
        device = self._device(session, request)
        name, status = request.get("command"), request.get("status")
        found = [
            command
            for command in self._store.commands(device.id)
            if name in (None, command.name) and status in (None, command.status)
        ]
        found = self.traps.sift("lists", found, request)
        return {
            "commands": [
                fields.command(command) for command in fields.page(found, request, _COMMAND_SORT)
            ]
        }

    def _notification_insert(self, session, request):
        device = self._device(session, request)
        body = fields.body(request, "notification")
        notification = self._store.insert_notification(
            device,
            fields.name(body.get("notification"), required=True),
            body.get("parameters"),
            fields.time_ms(body.get("timestamp")),
        )
        shown = fields.notification(notification)
        return {"notification": {key: shown[key] for key in ("id", "timestamp")}}

    def _notification_get(self, session, request):
        device = self._device(session, request)
        wanted = _number(request, "notificationId", "Notification id is wrong or empty")
        for kept in device.notifications:
            if kept.id == wanted:
                return {"notification": fields.notification(kept)}
        raise Refusal(404, "Requested notification not found")

    def _notification_list(self, session, request):
        device = self._device(session, request)
        name = request.get("notification")
        found = [kept for kept in device.notifications if name in (None, kept.name)]
        return {
            "notifications": [
                fields.notification(kept)
                for kept in fields.page(found, request, _NOTIFICATION_SORT)
            ]
        }

    def _command_subscribe(self, session, request):
        updated = fields.flag(request.get("returnUpdatedCommands"))
        event = "command/update" if updated else "command/insert"
        return self._subscribe(event, session, request)

    def _subscribe(self, event, session, request):
        if len(session.asked) >= _ASKED_MAX:
            raise Refusal(403, f"{_ASKED_MAX} subscriptions are enough: unsubscribe from some")
        made = self.subscriptions.make(session.principal, event, request)
        if made is None:
            raise Refusal(403, "No access to any device type or network")
        session.asked[made.id] = made
        return {"subscriptionId": made.id}

    def _unsubscribe(self, kind, session, request):
        # Without a number, everything of that kind goes.
        number = fields.number(request.get("subscriptionId"))
        ids = [one.id for one in session.alive() if one.kind == kind]
        if number is not None and number not in ids:
            raise Refusal(404, f"Subscription with id {number} was not found")
        session.forget(lambda one: one.id in ids and number in (None, one.id))
        return {}

    def _subscription_list(self, session, request):
        kind = request.get("type")
        if kind not in (None, "command", "notification"):
            raise Refusal(400, INVALID_PARAMETERS)
        shown = [fields.subscription(kept) for kept in session.alive()]
        return {"subscriptions": [one for one in shown if kind in (None, one["type"])]}


def _first(ids, reaches):
    return next((one for one in sorted(ids) if reaches(one)), None)


def malformed():
    """The answer to what is no JSON object; it names neither an action nor a request."""
    return _refused(Refusal(400, MALFORMED_JSON))


def _refused(refusal):
    return {"code": refusal.code, "status": "error", "error": refusal.text}


def _number(request, key, complaint):
    try:
        number = fields.number(request.get(key))
    except Refusal:
        number = None
    if number is None:
        raise Refusal(400, complaint)
    return number
