"""The REST API under `/api/rest`, for a person, a script or a back end.

Paths, bodies and codes are those of the documentation's section "DeviceHive RESTful API" and
of the server's resource classes. All of it is done by the same actions as over MQTT.
"""

import logging

from aiohttp import web

from . import fields, frames
from .polls import Polls, wait_s
from .refusal import MALFORMED_JSON, UNAUTHORIZED, Refusal
from .sessions import NEEDED, Session
from .websocket import WebSockets

log = logging.getLogger(__name__)

PATH = "/api/rest"
WEBSOCKET_PATH = "/api/websocket"
_BODY_LIMIT = 2**20


class REST:
    """The web side of a hub; the WebSocket API shares its port.

    Arguments:
        store, tokens, actions: the hub's.

    Attributes:
        websocket: the address that `GET info` tells.
        sockets: the WebSockets. polls: the Polls.
    """

    def __init__(self, store, tokens, actions):
        self._store = store
        self._tokens = tokens
        self._actions = actions
        self._runner = None
        self.websocket = ""
        self.sockets = WebSockets(store, actions)
        self.polls = Polls(store, actions.subscriptions)

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
        notification = "/notification/{notificationId}"
        return [
            web.get(WEBSOCKET_PATH, self.sockets.serve),
            web.get(PATH + "/info", self._info),
            web.post(PATH + "/token", self._open("token")),
            web.post(PATH + "/token/refresh", self._open("token/refresh")),
            web.post(PATH + "/token/create", self._token_create),
            web.get(PATH + "/device", self._list("device/list", "devices")),
            web.get(device, self._one("device/get", "device")),
            web.put(device, self._change("device/save", "device")),
            web.delete(device, self._change("device/delete")),
            # `poll` before any id, of which it could be one.
            web.get(PATH + "/device/command/poll", self._poll_commands),
            web.get(PATH + "/device/notification/poll", self._poll_notifications),
            web.get(device + "/command/poll", self._poll_commands),
            web.get(device + "/notification/poll", self._poll_notifications),
            web.post(device + "/command", self._insert("command")),
            web.get(device + "/command", self._list("command/list", "commands")),
            web.get(device + command, self._one("command/get", "command")),
            web.put(device + command, self._change("command/update", "command")),
            web.get(device + command + "/poll", self._wait),
            web.post(device + "/notification", self._insert("notification")),
            web.get(device + "/notification", self._list("notification/list", "notifications")),
            web.get(device + notification, self._one("notification/get", "notification")),
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

    def _one(self, action, key):
        async def respond(request):
            return _json(self._perform(request, action)[key])

        return respond

    def _insert(self, kind):
        async def respond(request):
            body = await _body(request)
            return _json(self._perform(request, f"{kind}/insert", **{kind: body})[kind], 201)

        return respond

    # Waiting

    async def _poll_commands(self, request):
        # Only where the path names the device: elsewhere the server knows no such parameter,
        # although its own client libraries send it there.
        named = "deviceId" in request.match_info
        updated = named and fields.flag(request.query.get("returnUpdatedCommands"))
        event = "command/update" if updated else "command/insert"
        found = await self._poll(request, event)
        return _json([fields.command(record) for record in found])

    async def _poll_notifications(self, request):
        found = await self._poll(request, "notification/insert")
        return _json([fields.notification(record) for record in found])

    async def _poll(self, request, event):
        principal = self._session(request).demand(NEEDED[event])
        return await self.polls.records(principal, event, {**request.query, **request.match_info})

    async def _wait(self, request):
        principal = self._session(request).demand("GetDeviceCommand")
        device = self._actions.device(principal, request.match_info["deviceId"])
        timeout_s = wait_s(request.query)
        command_id = fields.number(request.match_info["commandId"])
        command = self._store.command(device.id, command_id)
        if command is None or not await self.polls.update(command, timeout_s):
            return web.Response(status=204)
        return _json(fields.command(command))

    async def _release(self, _app):
        self.polls.release()
        await self.sockets.close()


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
