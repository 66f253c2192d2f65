"""The transport on every interpreter against a real mosquitto, with and without TLS."""

import os
import ssl
import sys
from pathlib import Path

import pytest
import trustme

from host_tests.processes import Child
from tools import interpreters, umqtt

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "host_tests" / "transport_script.py"

TALK = [
    "connected",
    "subscribed",
    "acknowledged 200",
    "in order True",
    "too large 1 498",
    "whole [4000, 2]",
]


def script(interpreter, *words):
    """The script as a process of CPython or of MicroPython with 32-bit or 64-bit words."""
    path = f"{ROOT}:{umqtt.folder()}"
    if interpreter == "CPython":
        argv = [sys.executable, "-u", SCRIPT, *words]
        env = {**os.environ, "PYTHONPATH": path, "UMQTT": str(umqtt.folder())}
    else:
        argv = interpreters.find(int(interpreter[-2:])).argv(SCRIPT, *words, heap="512k")
        env = {**os.environ, "MICROPYPATH": path + ":.frozen"}
    return Child(argv, env=env)


@pytest.fixture(params=["CPython", "MicroPython-64", "MicroPython-32"])
def interpreter(request):
    return request.param


def test_it_talks_to_mosquitto_and_notices_that_it_went(mosquitto, interpreter):
    broker = mosquitto()
    with script(interpreter, str(broker.port)) as child:
        child.await_line("waiting for the loss", 30)
        assert [line for line in child.lines if "ERROR" not in line] == [
            *TALK,
            "waiting for the loss",
        ]
        broker.stop()
        # ECONNRESET is 104 on Linux, for CPython and MicroPython alike.
        child.await_line("lost 104", 30)
        assert child.wait() == 0
    log = broker.process.output
    # The broker itself says whether each packet arrived as MQTT wants it.
    assert "Received SUBSCRIBE" in log and "socket error" not in log


def test_a_wrong_password_is_called_one(mosquitto, interpreter, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text("nobody:$7$101$AAAAAAAAAAAAAAAA$" + "A" * 86 + "==\n")
    passwords.chmod(0o600)
    broker = mosquitto("allow_anonymous false", f"password_file {passwords}")
    with script(interpreter, str(broker.port)) as child:
        match = child.await_line("refused (.*)", 30)
        assert "check the login and the password" in match[1]


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A folder with an authority's certificate, a stranger's, and a server's for localhost."""
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    server = ca.issue_cert("localhost")
    ca.cert_pem.write_to_path(folder / "ca.pem")
    (folder / "ca.der").write_bytes(ssl.PEM_cert_to_DER_cert(ca.cert_pem.bytes().decode()))
    trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
    server.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder


def over_tls(mosquitto, authority):
    chain = authority / "server.pem"
    return mosquitto("allow_anonymous true", f"certfile {chain}", f"keyfile {chain}")


@pytest.mark.parametrize("words", ["32", "64"])
def test_tls_with_the_right_authority_carries_everything(mosquitto, authority, words):
    broker = over_tls(mosquitto, authority)
    with script(f"MicroPython-{words}", str(broker.port), str(authority / "ca.der")) as child:
        child.await_line("waiting for the loss", 30)
        assert [line for line in child.lines if "ERROR" not in line][:-1] == TALK


@pytest.mark.parametrize("words", ["32", "64"])
def test_tls_with_another_authority_never_gets_through(mosquitto, authority, words):
    broker = over_tls(mosquitto, authority)
    with script(
        f"MicroPython-{words}", str(broker.port), str(authority / "stranger.pem")
    ) as child:
        match = child.await_line("refused (.*)", 30)
        assert "not correctly signed" in match[1]
        assert not any("connected" in line for line in child.lines)


def test_tls_without_its_certificate_file_says_which(mosquitto, authority):
    broker = over_tls(mosquitto, authority)
    with script("MicroPython-32", str(broker.port), "nowhere.der") as child:
        assert "nowhere.der" in child.await_line("refused (.*)", 30)[1]
