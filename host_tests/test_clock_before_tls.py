"""TLS on real MicroPython with a board's clock at power-up: it is set by NTP, then TLS verifies.

The hub stands behind a TLS front, and NTP hosts are sockets of this process, all on 127.0.0.1.
"""

import asyncio
import datetime as dt
import json
import re
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import pytest
import trustme

from host_tests import set_clock
from host_tests.processes import Child
from tools.agent import launch
from tools.rest import REST

ROOT = Path(__file__).resolve().parent.parent
# What a verified TLS connection leaves on an ESP32.
HEAP = {32: "112k", 64: "224k"}
POWER_UP = {"esp32": "2000-01-01T00:00:01", "rp2": "2021-01-01T00:00:01"}

MAIN = """
import agent.network
from agent import Agent

borrow, borrowed = agent.network.borrow, []
agent.network.borrow = lambda name: borrowed.append(name) or borrow(name)
board = Agent("settings.json")

@board.command("add", params={"a": int, "b": int})
def add(command):
    return command.parameters["a"] + command.parameters["b"]

board.on("online", lambda: print("sntp was", "sntp" in borrowed))
board.run()
"""


class NTPHost(threading.Thread):
    """An NTP host on a free port, which tells the time of this machine once it is not `silent`."""

    def __init__(self, silent=False):
        super().__init__(daemon=True)
        self.silent = silent
        self.asked = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.name = "127.0.0.1:%d" % self._socket.getsockname()[1]

    def run(self):
        while True:
            question, asker = self._socket.recvfrom(1000)
            if not question:  # from `stop`
                break
            self.asked += 1
            if not self.silent:
                self._socket.sendto(self._answer(question), asker)
        self._socket.close()

    def _answer(self, question):
        now = (int(time.time()) + 2208988800).to_bytes(4, "big") + bytes(4)
        return b"\x24\x02\x00\xec" + bytes(20) + question[40:48] + now + now

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self.join(10)


class TLSFront(threading.Thread):
    """Takes TLS connections for `localhost` and hands the plain bytes on to a port."""

    def __init__(self, chain, target):
        super().__init__(daemon=True)
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(chain)
        self._ready = threading.Event()
        self.start()
        assert self._ready.wait(10)

    def run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        self._loop, self._stopped, self._links = asyncio.get_running_loop(), asyncio.Event(), set()
        server = await asyncio.start_server(self._hand_on, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for writer in self._links:
            writer.transport.abort()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    async def _hand_on(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._links |= {writer, far_writer}
        await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))

    def stop(self):
        self._loop.call_soon_threadsafe(self._stopped.set)
        self.join(10)
        assert not self.is_alive()


async def pour(reader, writer):
    """Hand on what comes until either side is gone, and have the other follow."""
    try:
        while data := await reader.read(4096):
            writer.write(data)
    except OSError:
        pass
    writer.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with an authority, and a server's certificate that is valid since yesterday."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    now = dt.datetime.now(dt.timezone.utc)
    day = dt.timedelta(days=1)
    server = authority.issue_cert("localhost", not_before=now - day, not_after=now + 30 * day)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "ca.der").write_bytes(ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode()))
    server.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder


@pytest.fixture(scope="module")
def hub():
    """What a running hub says of itself."""
    argv = [sys.executable, "-m", "tools", "hub", "--json", "--mqtt-port=0", "--http-port=0"]
    with Child(argv, cwd=ROOT) as child:
        yield json.loads(child.await_line(r"^\{.*\}$", 20)[0])


@pytest.fixture
def ntp():
    """Gives start(silent): an NTP host."""
    hosts = []

    def start(silent=False):
        hosts.append(NTPHost(silent))
        hosts[-1].start()
        return hosts[-1]

    yield start
    for host in hosts:
        host.stop()


class Board:
    """An agent of its own folder, on real MicroPython; `agent` is its process."""

    def __init__(self, folder, bits, hub, front, certificates):
        self.folder = folder
        self.bits = bits
        self._hub, self._front, self._ca = hub, front, certificates / "ca.der"
        self.agent = None

    def start(self, says, ntp, tls=True):
        """Power it up; `says` is what its clock says then."""
        own = {"host": "localhost", "login": "heed", "password": "heed"}
        own["port"] = self._front.port if tls else self._hub["mqtt_port"]
        if tls:
            own.update(tls=True, ca=str(self._ca))
        settings = {"device": {"id": f"board-{self.bits}"}, "devicehive": own}
        settings["network"] = {"ntp": ntp}
        main = self.folder.parent / "program.py"
        main.write_text(MAIN)
        time_then = dt.datetime.fromisoformat(says + "+00:00").timestamp()
        clock = set_clock.power_up(self.folder, round(time_then - time.time()))
        plan = launch(
            settings, main, self.folder, HEAP[self.bits], set_clock.interpreter(self.bits)
        )
        self.agent = Child(plan.argv, cwd=plan.cwd, env={**plan.env, **clock})

    def online(self):
        return self.agent.await_line(r"online as board", 30)

    def add(self):
        """Have it run a command; return the outcome."""

        async def go():
            async with REST(self._hub["rest"], "heed", "heed") as rest:
                await rest.login()
                name = f"board-{self.bits}"
                sent = await rest.insert(name, "add", {"a": 2, "b": 3}, 30)
                return await rest.wait(name, sent["id"], 20)

        return asyncio.run(go())

    def stop(self):
        if self.agent and self.agent.running:
            self.agent.kill()


@pytest.fixture(params=[32, 64])
def board(request, tmp_path, hub, certificates):
    front = TLSFront(certificates / "server.pem", hub["mqtt_port"])
    board = Board(tmp_path / "board", request.param, hub, front, certificates)
    yield board
    board.stop()
    front.stop()


@pytest.mark.parametrize("port", ["esp32", "rp2"])
def test_with_the_clock_of_a_power_up_it_comes_online_by_itself(board, ntp, port):
    host = ntp()
    board.start(POWER_UP[port], [host.name])
    board.online()
    board.agent.await_line("sntp was True")
    told = board.agent.await_line(r"INFO sntp: (\S+) from " + host.name)[1]
    assert abs(dt.datetime.fromisoformat(told + "+00:00").timestamp() - time.time()) < 60
    assert "WARNING" not in board.agent.output and "ERROR" not in board.agent.output
    assert board.add()["result"] == 5
    assert host.asked == 1


@pytest.mark.parametrize("port", ["esp32", "rp2"])
def test_without_the_time_tls_refuses_the_certificate(board, port):
    """What the other tests stand on: mbedTLS sees the board's clock, not this machine's."""
    board.start(POWER_UP[port], [])
    line = board.agent.await_line(r"WARNING session: .*", 30)[0]
    assert re.search("not valid yet|in the future", line), line
    assert POWER_UP[port][:10] in board.agent.await_line(r"WARNING sntp: .*")[0]
    assert "online" not in board.agent.output


def test_p4_with_ntp_blocked_it_says_so_and_goes_on_trying_until_ntp_answers(board, ntp):
    host, other = ntp(silent=True), ntp(silent=True)
    board.start(POWER_UP["rp2"], [host.name, other.name])
    blocked = rf"WARNING session: .*{host.name}: it is silent, {other.name}: .*UDP port 123.*next"
    board.agent.await_line(blocked, 30)
    seen = len(board.agent.lines)
    assert seen == 1, board.agent.output
    board.agent.await_line(blocked, 30, seen)
    assert host.asked >= 2 and "online" not in board.agent.output
    other.silent = False
    board.online()


def test_with_ntp_blocked_the_newest_time_of_the_journal_has_to_do(board, ntp):
    host = ntp()
    board.start(POWER_UP["esp32"], [host.name])
    board.online()
    assert board.add()["result"] == 5
    board.stop()
    host.silent = True
    board.start(POWER_UP["esp32"], [host.name])
    board.online()
    assert "will do" in board.agent.await_line(r"WARNING sntp: .*")[0]
    assert board.add()["result"] == 5


def test_a_board_that_knows_the_time_or_needs_none_never_asks(board, ntp):
    host = ntp()
    board.start(dt.datetime.now(dt.timezone.utc).isoformat()[:19], [host.name])
    board.online()
    board.agent.await_line("sntp was False")
    board.stop()
    board.start(POWER_UP["esp32"], [host.name], tls=False)
    board.online()
    board.agent.await_line("sntp was False")
    assert host.asked == 0
