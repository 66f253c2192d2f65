"""The transport on real sockets: a real mosquitto, and a scripted server where that can't misbehave."""

import hashlib
import socket
import ssl
import struct
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme

from host_tests.processes import Child
from host_tests.scripted_server import CONNACK, ScriptedServer, publish, take_connect
from tools import interpreters, umqtt

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "host_tests" / "transport_script.py"

TALK = [
    "connected",
    "subscribed",
    "acknowledged 200",
    "in order True",
    "too large 1 1010 b'head' 512 b'tail'",
    "whole [4000, 2]",
    "waiting for the loss",
]

# Time-outs pass twenty times as fast: ten seconds in half a second.
QUICK = "speed=20"

# What Linux calls them, for MicroPython as well.
ECONNRESET, ETIMEDOUT = 104, 110


@pytest.fixture(params=[64, 32], ids=["MicroPython-64", "MicroPython-32"])
def script(request):
    """Starts transport_script.py: script(what, port, *words, heap="512k") gives its Child."""
    children = []

    def start(what: str, port: int, *words: object, heap: str = "512k") -> Child:
        argv = interpreters.find(request.param).argv(SCRIPT, what, port, *words, heap=heap)
        path = f"{ROOT}:{umqtt.folder()}:.frozen"
        children.append(Child(argv, env={"MICROPYPATH": path}))
        return children[-1]

    yield start
    for child in children:
        child.stop()


def said(child: Child) -> list[str]:
    """What the script printed; of the agent's own log only the transport's complaint is expected."""
    return [line for line in child.lines if "is not kept, the limit is" not in line]


def test_it_talks_to_mosquitto_and_notices_that_it_went(mosquitto, script):
    broker = mosquitto()
    child = script("talk", broker.port)
    child.await_line("waiting for the loss", 30)
    assert said(child) == TALK
    broker.stop()
    child.await_line(f"lost {ECONNRESET}", 30)
    assert child.wait() == 0
    log = broker.process.output
    # The broker itself says whether each packet arrived as MQTT wants it.
    assert "Received SUBSCRIBE" in log and "socket error" not in log


def test_a_wrong_password_is_called_one(mosquitto, script, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text("nobody:$7$101$AAAAAAAAAAAAAAAA$" + "A" * 86 + "==\n")
    passwords.chmod(0o600)
    broker = mosquitto("allow_anonymous false", f"password_file {passwords}")
    child = script("watch", broker.port)
    assert "check the login and the password" in child.await_line("refused (.*)", 30)[1]


def test_the_same_transport_connects_again_after_a_restart_of_the_broker(mosquitto, script):
    broker = mosquitto()
    child = script("again", broker.port)
    child.await_line("connected", 30)
    broker.stop()
    child.await_line("waiting for a broker", 30)
    broker.start()
    child.await_line("acknowledged again", 30)
    assert child.wait() == 0
    assert said(child).count("connected") == 2


@pytest.mark.parametrize("script", [32], indirect=True, ids=["MicroPython-32"])
def test_p4_seventy_thousand_acknowledged_messages_wrap_the_packet_id_in_bounded_memory(
    mosquitto, script
):
    broker = mosquitto("allow_anonymous true", "log_type error", "log_type information")
    child = script("flood", broker.port, heap="192k")
    child.await_line("acknowledged 70000 of them 0 left", 90)
    grown = int(child.await_line(r"grown by (-?\d+)", 10)[1])
    assert abs(grown) < 1024, f"{grown} bytes from message 7,000 to message 70,000"
    assert child.wait() == 0


def test_a_session_that_is_present_and_a_stray_acknowledgement_are_passed_over(script):
    def serve(connection):
        take_connect(connection)
        # CONNACK with session-present, then a PUBACK and a SUBACK of nothing, and a message.
        connection.sendall(b"\x20\x02\x01\x00" + b"\x40\x02\x99\x99" + b"\x90\x03\x00\x07\x00")
        connection.sendall(publish("a", b"whole"))

    with ScriptedServer(serve) as server:
        child = script("watch", server.port)
        server.result(30)
        server.drop()
        child.await_line(f"lost {ECONNRESET}", 30)
        assert child.wait() == 0
        assert said(child) == [
            "connected",
            f"lost {ECONNRESET} the broker closed the connection",
            "message a 5",
        ]


@pytest.mark.parametrize("kept", [1, 2, 4, 20])
def test_a_packet_that_ends_in_the_middle_is_a_loss_and_no_message(script, kept):
    def serve(connection):
        take_connect(connection)
        connection.sendall(CONNACK + publish("a", b"whole") + publish("b", b"x" * 200)[:kept])

    with ScriptedServer(serve) as server:
        child = script("watch", server.port)
        server.result(30)
        server.drop()
        assert child.wait(30) == 0
        assert said(child) == [
            "connected",
            f"lost {ECONNRESET} the broker closed the connection",
            "message a 5",
        ]


def test_p4_a_server_that_never_answers_is_given_up(script):
    with ScriptedServer(take_connect) as server:
        child = script("watch", server.port, QUICK)
        match = child.await_line(r"refused (\d+) (.*)", 30)
        assert int(match[1]) == ETIMEDOUT and "no answer" in match[2]
        assert "connected" not in said(child)


@pytest.mark.parametrize("ca", [False, True], ids=["plain", "tls"])
def test_p4_a_server_that_says_nothing_at_all_is_given_up(script, certificates, ca):
    words = [f"ca={certificates / 'ca.pem'}"] if ca else []
    with ScriptedServer(lambda connection: None) as server:
        child = script("watch", server.port, QUICK, *words)
        assert int(child.await_line(r"refused (\d+)", 30)[1]) == ETIMEDOUT


@pytest.mark.parametrize("half", [b"", publish("a", b"whole")[:5]], ids=["between", "within"])
def test_p4_a_server_that_falls_silent_is_lost_after_one_and_a_half_keepalives(script, half):
    def serve(connection):
        take_connect(connection)
        connection.sendall(CONNACK + half)
        pings = b""
        while data := connection.recv(100):
            pings += data
        return pings

    with ScriptedServer(serve) as server:
        child = script("watch", server.port, QUICK, "keepalive=20")
        child.await_line(f"lost {ETIMEDOUT}", 30)
        assert child.wait() == 0
        # At half a keepalive and at the whole; at the third time it gives up.
        assert server.result() == b"\xc0\x00" * 2


def test_p4_a_socket_that_is_closed_underneath_is_a_loss(script):
    def serve(connection):
        take_connect(connection)
        connection.sendall(CONNACK)

    with ScriptedServer(serve) as server:
        child = script("cut", server.port, QUICK, "keepalive=20")
        child.await_line(r"lost \d+", 30)
        assert child.wait() == 0


def test_p4_a_message_larger_than_the_heap_is_passed_over_and_the_next_one_arrives(script):
    def serve(connection):
        take_connect(connection)
        connection.sendall(CONNACK)
        connection.sendall(publish("large", b"x" * 2_000_000) + publish("small", b"whole", 7))
        return connection.recv(4, socket.MSG_WAITALL)

    with ScriptedServer(serve) as server:
        child = script("watch", server.port, heap="128k")
        assert server.result(60) == b"\x40\x02\x00\x07"
        server.drop()
        assert child.wait(30) == 0
        assert said(child)[2:] == ["message large [1017, 512]", "message small 5"]


@pytest.mark.parametrize("ca", [False, True], ids=["plain", "tls"])
def test_a_message_arrives_whole_at_a_peer_that_takes_it_in_small_bites(script, certificates, ca):
    expected = publish("script/pour", bytes(range(256)) * 1200)

    def serve(connection):
        if ca:
            connection = tls_server(certificates).wrap_socket(connection, server_side=True)
        head = connection.recv(1000)
        connection.sendall(CONNACK)
        digest, count = hashlib.sha256(), 0
        while count < len(expected):
            bite = connection.recv(3000)
            assert bite, f"{count} bytes came, after {head!r}"
            digest.update(bite)
            count += len(bite)
            # What comes meanwhile must not disturb what goes.
            connection.sendall(publish("small", b"x"))
        connection.close()
        return digest.hexdigest()

    words = [f"ca={certificates / 'ca.pem'}"] if ca else []
    with ScriptedServer(serve, receive_buffer=4096) as server:
        child = script("pour", server.port, f"size={256 * 1200}", *words, heap="2m")
        assert server.result(60) == hashlib.sha256(expected).hexdigest()
        child.await_line("lost", 30)


def test_p4_a_peer_that_takes_nothing_is_lost(script):
    def serve(connection):
        take_connect(connection)
        connection.sendall(CONNACK)

    with ScriptedServer(serve, receive_buffer=4096) as server:
        # More than the buffers of both kernels take.
        words = "keepalive=20", f"size={1 << 20}", "times=8"
        child = script("pour", server.port, QUICK, *words, heap="40m")
        child.await_line(f"lost {ETIMEDOUT}", 60)


@pytest.mark.parametrize("what", ["watch", "pour"])
@pytest.mark.parametrize("end", ["reset", "close", "junk"])
def test_a_tls_connection_that_breaks_is_a_loss_with_a_reason(script, certificates, end, what):
    def serve(connection):
        talk = tls_server(certificates).wrap_socket(connection, server_side=True)
        talk.recv(1000)
        talk.sendall(CONNACK)
        talk.recv(1)  # a ping or a message: it is connected
        if end == "reset":  # not even a FIN
            talk.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        below = socket.socket(fileno=talk.detach())
        if end == "junk":
            below.sendall(b"no TLS record at all")
        below.close()

    with ScriptedServer(serve) as server:
        words = QUICK, "keepalive=20", f"ca={certificates / 'ca.pem'}", f"size={1 << 20}"
        child = script(what, server.port, *words, heap="8m")
        match = child.await_line(r"lost (-?\d+) (.*)", 30)
        assert int(match[1]) > 0 and "name" not in match[2], match[0]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with an authority's certificate in several forms, and servers' that it signed."""
    folder = tmp_path_factory.mktemp("tls")
    ca, stranger = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "ca.der").write_bytes(ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode()))
    stranger.cert_pem.write_to_path(folder / "stranger.pem")
    (folder / "both.pem").write_bytes(stranger.cert_pem.bytes() + ca.cert_pem.bytes())
    (folder / "none.pem").write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    )
    now, day = datetime.now(timezone.utc), timedelta(days=1)
    for name, host, days in (
        ("server", "localhost", (-1, 1)),
        ("elsewhere", "elsewhere.test", (-1, 1)),
        ("expired", "localhost", (-3, -1)),
        ("future", "localhost", (1, 3)),
    ):
        since, to = now + days[0] * day, now + days[1] * day
        issued = ca.issue_cert(host, not_before=since, not_after=to)
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return folder


def tls_server(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem")
    return context


@pytest.fixture(scope="module")
def over_tls(mosquitto, certificates):
    """Gives over_tls(name, *lines): a broker that shows that certificate, one for each."""
    brokers = {}

    def start(name: str, *lines: str):
        if (name, lines) not in brokers:
            chain = certificates / f"{name}.pem"
            words = "allow_anonymous true", f"certfile {chain}", f"keyfile {chain}"
            brokers[name, lines] = mosquitto(*words, *lines)
        return brokers[name, lines]

    return start


@pytest.mark.parametrize("ca", ["ca.der", "ca.pem", "both.pem"])
def test_tls_with_the_right_authority_carries_everything(over_tls, certificates, script, ca):
    child = script("talk", over_tls("server").port, f"ca={certificates / ca}")
    child.await_line("waiting for the loss", 30)
    assert said(child) == TALK


def refusal(child: Child) -> str:
    text = child.await_line(r"refused \d+ (TLS: .*)", 30)[1]
    assert "connected" not in said(child) and child.wait() == 0
    return text


@pytest.mark.parametrize(
    ("server", "ca", "sentence"),
    [
        ("server", "stranger.pem", "not of the authority that signed the server's"),
        ("expired", "ca.pem", "has expired"),
        ("elsewhere", "ca.pem", "another name than `host`"),
        ("future", "ca.pem", "not valid yet: set the clock"),
        ("server", "nowhere.pem", "nowhere.pem is no file of a certificate"),
        ("server", "none.pem", "none.pem is no file of a certificate"),
    ],
)
def test_tls_never_gets_through_with_a_wrong_certificate_and_says_what_is_wrong(
    over_tls, certificates, script, server, ca, sentence
):
    child = script("watch", over_tls(server).port, f"ca={certificates / ca}")
    assert sentence in refusal(child)


def test_tls_to_an_address_needs_the_address_in_the_certificate(over_tls, certificates, script):
    words = f"ca={certificates / 'ca.pem'}", "host=127.0.0.1"
    assert "another name" in refusal(script("watch", over_tls("server").port, *words))


def test_tls_with_a_server_that_asks_for_a_certificate_of_the_boards(
    over_tls, certificates, script
):
    lines = f"cafile {certificates / 'ca.pem'}", "require_certificate true"
    child = script("watch", over_tls("server", *lines).port, f"ca={certificates / 'ca.pem'}")
    match = child.await_line(r"refused (\d+) (.*)", 30)
    # It depends on who is faster whether the server's words or its absence are noticed first.
    assert int(match[1]) == ECONNRESET or "ask for a certificate" in match[2]
    assert "connected" not in said(child) and child.wait() == 0


def test_tls_to_a_port_without_it_is_a_closed_connection(mosquitto, certificates, script):
    child = script("watch", mosquitto().port, f"ca={certificates / 'ca.pem'}")
    assert int(child.await_line(r"refused (\d+)", 30)[1]) == ECONNRESET


def test_p4_connections_that_fail_leave_no_socket_open(over_tls, certificates, script):
    child = script("fail", over_tls("server").port, f"ca={certificates / 'stranger.pem'}")
    child.await_line("files left 0", 30)
    assert "authority" in child.await_line("reasons (.*)", 10)[1]
