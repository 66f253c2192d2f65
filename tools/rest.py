"""A small client of DeviceHive's REST API: the cloud's side of a command.

The calls and their JSON are those of the DeviceHive REST reference (`/token`, `/device/{id}`,
`/device/{id}/command`).
"""

import asyncio
import time
from urllib.parse import quote

import aiohttp

from tools.report import Problem

# The server holds a waiting request open for as long as it is asked to, 60 s at most.
LONGEST_POLL_S = 30


class Refused(Problem):
    """The server answered with an error; status is HTTP's number."""

    def __init__(self, status: int, message: str):
        super().__init__(f"the cloud refused ({status}): {message}")
        self.status = status


class REST:
    """One logged-in user. Use it as `async with REST(url, login, password) as rest:`.

    Every call raises Refused on an error answer and Problem when nobody answers.
    """

    def __init__(self, url: str, login: str, password: str):
        self.url = url.rstrip("/")
        self._credentials = {"login": login, "password": password}
        self._headers: dict[str, str] = {}

    async def __aenter__(self) -> "REST":
        # Above the longest poll: a server that takes a request and goes silent is an error too.
        bound = aiohttp.ClientTimeout(total=LONGEST_POLL_S + 10, sock_connect=10)
        self._http = aiohttp.ClientSession(timeout=bound)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def login(self) -> None:
        """Fetches an access token for the calls that follow."""
        tokens = await self._call("POST", "token", self._credentials)
        self._headers = {"Authorization": "Bearer " + tokens["accessToken"]}

    async def save_device(self, device: str, **fields: object) -> None:
        """Creates or changes a device; fields: name, data, networkId, deviceTypeId, isBlocked."""
        await self._call("PUT", _device(device), {"name": device, **fields})

    async def insert(
        self, device: str, name: str, parameters: object = None, lifetime: int | None = None
    ) -> dict:
        """Sends a command; gives it back with the id and timestamp the server chose.

        parameters: anything that JSON carries. lifetime: seconds; None sends none.
        """
        command = {"command": name, "parameters": parameters, "lifetime": lifetime}
        known = {key: value for key, value in command.items() if value is not None}
        answer = await self._call("POST", _device(device) + "/command", known)
        return {**known, **answer}

    async def get(self, device: str, command_id: int) -> dict:
        """The command as the server holds it now."""
        return await self._call("GET", f"{_device(device)}/command/{command_id}")

    async def wait(self, device: str, command_id: int, timeout_s: float) -> dict | None:
        """Waits for the final status; None when there was none in `timeout_s` seconds."""
        end = time.monotonic() + timeout_s
        path = f"{_device(device)}/command/{command_id}"
        while (left := end - time.monotonic()) > 0:
            seconds = max(1, min(LONGEST_POLL_S, int(left)))
            poll = self._call("GET", f"{path}/poll?waitTimeout={seconds}")
            try:
                command = await asyncio.wait_for(poll, left)
            except asyncio.TimeoutError:
                return None
            if command and command.get("status") not in (None, "running"):
                return command
            # After a first update the server answers every further poll at once.
            await asyncio.sleep(min(0.2, max(0, end - time.monotonic())) if command else 0)
        return None

    async def _call(self, method: str, path: str, body: object = None) -> dict:
        url = f"{self.url}/{path}"
        try:
            call = self._http.request(method, url, json=body, headers=self._headers)
            async with call as answer:
                return await _read(answer)
        # On Python 3.10 asyncio's TimeoutError is not yet an OSError.
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            reason = str(error) or "it took too long"
            raise Problem(f"nothing answers at {self.url}: {reason}") from None


def _device(device: str) -> str:
    return "device/" + quote(device, safe="")


async def _read(answer: aiohttp.ClientResponse) -> dict:
    try:
        body = await answer.json(content_type=None)
    except ValueError:
        body = {"message": "the answer is not JSON; is this the address of the REST API?"}
        raise Refused(answer.status, body["message"]) from None
    if answer.status >= 400:
        told = body.get("message") if isinstance(body, dict) else None
        raise Refused(answer.status, told or answer.reason or "no reason given")
    return body
