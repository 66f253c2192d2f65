"""Who someone is and what they may do: passwords, and DeviceHive's JSON Web Tokens.

The token's body is `{"payload": {"u", "a", "n", "dt", "e", "t"}}`: user id, action ids,
network ids, device type ids (both as text, or `*`), expiry in milliseconds, and 1 for an
access token or 0 for a refresh token; signed with HS256 (the server's JwtUserPayload).
"""

import hmac
import secrets
from dataclasses import dataclass

import jwt

from .refusal import INVALID_CREDENTIALS, INVALID_PARAMETERS, UNAUTHORIZED, Refusal

ACCESS_MS = 30 * 60 * 1000
REFRESH_MS = 182 * 24 * 60 * 60 * 1000
MAX_ATTEMPTS = 10

ANY = 0
_ACCESS, _REFRESH = 1, 0

# Names and ids as in the server's HiveAction and the documentation's page on authentication.
ACTIONS = {
    "*": ANY,
    "GetNetwork": 2,
    "GetDevice": 3,
    "GetDeviceNotification": 4,
    "GetDeviceCommand": 5,
    "RegisterDevice": 6,
    "CreateDeviceCommand": 7,
    "UpdateDeviceCommand": 8,
    "CreateDeviceNotification": 9,
    "GetCurrentUser": 10,
    "UpdateCurrentUser": 11,
    "ManageUser": 12,
    "ManageConfiguration": 13,
    "ManageNetwork": 14,
    "ManageToken": 15,
    "ManagePlugin": 16,
    "GetDeviceType": 17,
    "ManageDeviceType": 18,
}
_CLIENT_ACTIONS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 17]


@dataclass(frozen=True)
class Principal:
    """What the bearer of a token may do; `networks` and `types` hold ids as text."""

    user: int
    admin: bool
    actions: frozenset
    networks: frozenset
    types: frozenset

    def allows(self, action):
        """Whether the action, by its name in ACTIONS, is among those granted."""
        return ANY in self.actions or ACTIONS[action] in self.actions

    def reaches_network(self, network):
        """Whether devices of that network are within reach."""
        return "*" in self.networks or str(network) in self.networks

    def reaches_type(self, device_type):
        """Whether devices of that type are within reach."""
        return "*" in self.types or str(device_type) in self.types

    def reaches(self, record):
        """Whether a Device, Command or Notification is within reach."""
        return self.reaches_network(record.network) and self.reaches_type(record.type)


class Tokens:
    """Issues and checks tokens for the users of a Store.

    Every method that takes something from outside raises Refusal where DeviceHive would
    refuse it, with DeviceHive's code and text.
    """

    def __init__(self, store):
        self._store = store
        self._secret = secrets.token_hex(32)

    def login(self, login, password):
        """The User with that login and password; ten wrong passwords lock the account."""
        user = self._store.users.get(login) if isinstance(login, str) else None
        if user is None:
            raise Refusal(401, f"User with login = {login} not found or bad password")
        if user.locked:
            raise Refusal(401, "User is locked or disabled")
        if not isinstance(password, str) or not _same(password, user.password):
            user.attempts += 1
            user.locked = user.attempts >= MAX_ATTEMPTS
            raise Refusal(401, INVALID_CREDENTIALS)
        user.attempts = 0
        return user

    def pair(self, user):
        """`{"accessToken", "refreshToken"}` with all the rights the user has."""
        return self._pair(_rights(user), None, None)

    def create(self, payload):
        """`{"accessToken", "refreshToken"}` with the rights asked for.

        Arguments:
            payload: a dict with userId, and optionally actions (names or ids), networkIds,
                deviceTypeIds, expiration and refreshExpiration (milliseconds). What is
                absent or null is what the user has.
        """
        user_id = payload.get("userId")
        if not _whole(user_id):
            raise Refusal(400, INVALID_PARAMETERS)
        user = self._store.user(user_id)
        if user is None:
            raise Refusal(404, f"User with id = {user_id} not found")
        rights = _rights(user)
        for key, name, read in (
            ("a", "actions", _action_id),
            ("n", "networkIds", _scope_id),
            ("dt", "deviceTypeIds", _scope_id),
        ):
            if payload.get(name) is not None:
                rights[key] = _list(payload[name], read)
        return self._pair(rights, payload.get("expiration"), payload.get("refreshExpiration"))

    def refresh(self, token):
        """`{"accessToken"}` for a refresh token; the refresh token itself stays as it is."""
        payload = self._decoded(token)
        if payload["t"] != _REFRESH:
            raise Refusal(401, "Invalid token type")
        if payload["e"] <= self._store.now_ms():
            raise Refusal(401, "Token has expired")
        self._active_user(payload)
        return {"accessToken": self._encoded(payload, _ACCESS, None)}

    def principal(self, token):
        """The Principal of an access token."""
        if not token:
            raise Refusal(401, UNAUTHORIZED)
        payload = self._decoded(token)
        if payload["t"] != _ACCESS:
            raise Refusal(401, INVALID_CREDENTIALS)
        if payload["e"] <= self._store.now_ms():
            raise Refusal(401, "Token expired")
        return _principal(self._active_user(payload), payload)

    def own_principal(self, user):
        """The Principal with all the rights the user has."""
        return _principal(user, _rights(user))

    def _pair(self, rights, expiration, refresh_expiration):
        return {
            "accessToken": self._encoded(rights, _ACCESS, expiration),
            "refreshToken": self._encoded(rights, _REFRESH, refresh_expiration),
        }

    def _encoded(self, rights, kind, expiration):
        if expiration is None:
            expiration = self._store.now_ms() + (ACCESS_MS if kind == _ACCESS else REFRESH_MS)
        payload = {**rights, "e": expiration, "t": kind}
        return jwt.encode({"payload": payload}, self._secret, "HS256")

    def _decoded(self, token):
        if not isinstance(token, str) or not token.isascii():
            raise Refusal(401, INVALID_CREDENTIALS)
        try:
            return jwt.decode(token, self._secret, algorithms=["HS256"])["payload"]
        except jwt.PyJWTError:
            raise Refusal(401, INVALID_CREDENTIALS) from None

    def _active_user(self, payload):
        user = self._store.user(payload["u"])
        if user is None or user.locked:
            raise Refusal(401, INVALID_CREDENTIALS)
        return user


def _same(given, wanted):
    # Compared in a time that does not tell how much of it was right.
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8"))


def _rights(user):
    return {
        "u": user.id,
        "a": [ANY] if user.admin else _CLIENT_ACTIONS,
        "n": ["*"] if user.networks is None else sorted(map(str, user.networks)),
        "dt": ["*"] if user.types is None else sorted(map(str, user.types)),
    }


def _principal(user, payload):
    return Principal(
        user.id,
        user.admin,
        frozenset(payload["a"]),
        frozenset(payload["n"]),
        frozenset(payload["dt"]),
    )


def _whole(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _list(values, read):
    if not isinstance(values, list):
        raise Refusal(400, INVALID_PARAMETERS)
    return [read(value) for value in values]


def _action_id(value):
    if isinstance(value, str) and value in ACTIONS:
        return ACTIONS[value]
    if _whole(value) and value in ACTIONS.values():
        return value
    raise Refusal(400, INVALID_PARAMETERS)


def _scope_id(value):
    if value == "*" or _whole(value) or (isinstance(value, str) and value.isdecimal()):
        return str(value)
    raise Refusal(400, INVALID_PARAMETERS)
