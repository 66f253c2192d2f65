"""The REST API under `/api/rest`, for a person, a script or a back end.

Paths, bodies and codes are those of the documentation's section "DeviceHive RESTful API" and
of the server's resource classes. All of it is done by the same actions as over MQTT.
"""

import asyncio
import logging

from aiohttp import web

from . import fields, frames
from .refusal import MALFORMED_JSON, UNAUTHORIZED, Refusal
from .sessions import Session

log = logging.getLogger(__name__)

PATH = "/api/rest"
_BODY_LIMIT = 2**20
_WAIT_DEFAULT_S, _WAIT_MAX_S = 30, 60


class REST:
    """The web side of a hub.

    Arguments:
        store, tokens, actions: the hub's.

    Attributes:
        websocket: the address that `GET info` tells.
    """

    def __init__(self, store, tokens, actions):
        self._store = store
        self._tokens = tokens
        self._actions = actions
        self._runner = None
        # Polls that wait for an update: futures by (device id, command id).
        self._waiting = {}
        self.websocket = ""
        store.listen(self._hear)

    async def start(self, listener):
        """Serve on a listening socket."""
        app = web.Application(middlewares=[_errors], client_max_size=_BODY_LIMIT)
        app.add_routes(self._routes())
        app.on_shutdown.append(self._release)
        # A second for requests under way; aiohttp would give them a minute.
        self._runner = web.AppRunner(app, access_log=log, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def stop(self):
        """Close the listening socket and every connection."""
        await self._runner.cleanup()

    def _routes(self):
        device, command = PATH + "/device/{deviceId}", "/command/{commandId}"
        return [
            web.get(PATH + "/info", self._info),
            web.post(PATH + "/token", self._open("token")),
            web.post(PATH + "/token/refresh", self._open("token/refresh")),
            web.post(PATH + "/token/create", self._token_create),
            web.get(PATH + "/device", self._list("device/list", "devices")),
            web.get(device, self._device_get),
            web.put(device, self._change("device/save", "device")),
            web.delete(device, self._change("device/delete")),
            web.post(device + "/command", self._command_insert),
            web.get(device + "/command", self._list("command/list", "commands")),
            web.get(device + command, self._command_get),
            web.put(device + command, self._change("command/update", "command")),
            web.get(device + command + "/poll", self._poll),
            web.get(device + "/notification", self._list("notification/list", "notifications")),
        ]

    # One small function a kind of request

    def _perform(self, request, action, **given):
        wanted = {**request.query, **request.match_info, **given}
        return self._actions.perform(self._session(request), action, wanted)

    def _session(self, request):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refusal(401, UNAUTHORIZED)
        return Session(self._tokens.principal(token.strip()))

    def _open(self, action):
        async def respond(request):
            body = await _body(request)
            return _json(self._actions.perform(Session(), action, body), 201)

        return respond

    def _list(self, action, key):
        async def respond(request):
            # Over REST alone the order has a default.
            order = request.query.get("sortField", "timestamp")
            return _json(self._perform(request, action, sortField=order)[key])

        return respond

    def _change(self, action, key=None):
        async def respond(request):
            given = {key: await _body(request)} if key else {}
            self._perform(request, action, **given)
            return web.Response(status=204)

        return respond

    async def _info(self, _request):
        info = dict(self._actions.perform(Session(), "server/info", {})["info"])
        # Over REST one is told where the websocket is, over the websocket where REST is.
        del info["restServerUrl"]
        return _json({**info, "webSocketServerUrl": self.websocket})

    async def _token_create(self, request):
        payload = await _body(request)
        return _json(self._perform(request, "token/create", payload=payload), 201)

    async def _device_get(self, request):
        return _json(self._perform(request, "device/get")["device"])

    async def _command_insert(self, request):
        body = await _body(request)
        return _json(self._perform(request, "command/insert", command=body)["command"], 201)

    async def _command_get(self, request):
        return _json(self._perform(request, "command/get")["command"])

    # Waiting for the first update

    async def _poll(self, request):
        session = self._session(request)
        principal = session.demand("GetDeviceCommand")
        device = self._actions.device(principal, request.match_info["deviceId"])
        timeout_s = fields.number(request.query.get("waitTimeout"), _WAIT_DEFAULT_S)
        if not 0 <= timeout_s <= _WAIT_MAX_S:
            raise Refusal(400, f"Timeout can't be less than 0 or more than {_WAIT_MAX_S} seconds.")
        command_id = fields.number(request.match_info["commandId"])
        command = self._store.command(device.id, command_id)
        if command is None or not (command.updated or await self._update(command, timeout_s)):
            return web.Response(status=204)
        return _json(fields.command(command))

    async def _update(self, command, timeout_s):
        # Whether the command was updated before the time was up.
        waiting = asyncio.get_running_loop().create_future()
        key = command.device, command.id
        self._waiting.setdefault(key, []).append(waiting)
        try:
            await asyncio.wait_for(waiting, timeout_s)
        except asyncio.TimeoutError:
            pass
        finally:
            self._forget(key, waiting)
        return command.updated

    def _forget(self, key, waiting):
        self._waiting[key].remove(waiting)
        if not self._waiting[key]:
            del self._waiting[key]

    def _hear(self, event, record):
        if event == "command/update":
            for waiting in self._waiting.get((record.device, record.id), ()):
                _wake(waiting)

    async def _release(self, _app):
        for kept in self._waiting.values():
            for waiting in kept:
                _wake(waiting)


def _wake(waiting):
    if not waiting.done():
        waiting.set_result(None)


async def _body(request):
    try:
        body = frames.read(await request.read())
    except ValueError:
        raise Refusal(400, MALFORMED_JSON) from None
    if not isinstance(body, dict):
        raise Refusal(400, MALFORMED_JSON)
    return body


def _json(value, status=200):
    return web.Response(
        body=frames.write(value),
        status=status,
        content_type="application/json",
        charset="utf-8",
    )


def _error(code, text):
    return _json({"error": code, "message": text}, code)


@web.middleware
async def _errors(request, handler):
    # The server's ErrorResponse, whatever went wrong.
    try:
        return await handler(request)
    except Refusal as refusal:
        return _error(refusal.code, refusal.text)
    except web.HTTPException as error:
        return _error(error.status, error.reason)
    except Exception as error:
        log.error(
            "%s %s failed: %r",
            request.method,
            request.path,
            error,
            exc_info=log.isEnabledFor(logging.DEBUG),
        )
        return _error(500, repr(error))
