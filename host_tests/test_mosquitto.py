"""The broker and the child processes that other tests stand on."""

import socket
import sys

import pytest

from host_tests.processes import Child

# MQTT 3.1.1, section 3.1: CONNECT of the client "x", clean session, keepalive 60 s
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x"


def connack(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
        stream.sendall(CONNECT)
        return stream.recv(4)


def test_broker_answers_and_comes_back_on_its_port(mosquitto):
    broker = mosquitto()
    assert connack(broker.port) == b"\x20\x02\x00\x00"
    port = broker.port
    broker.stop()
    with pytest.raises(ConnectionRefusedError):
        connack(port)
    assert broker.start().port == port
    assert connack(port) == b"\x20\x02\x00\x00"


def test_broker_takes_its_configuration(mosquitto):
    broker = mosquitto("allow_anonymous false")
    assert connack(broker.port) == b"\x20\x02\x00\x05"  # not authorised


def test_broker_that_does_not_start_shows_why(mosquitto):
    with pytest.raises(AssertionError, match="Unknown configuration variable"):
        mosquitto("no_such_word true")


def python(text):
    return Child([sys.executable, "-u", "-c", text])


def test_child_that_ends_shows_all_it_printed():
    with python("print('one'); print('two')") as child:
        assert child.await_line("^o(n)e$")[1] == "n"
        with pytest.raises(AssertionError, match=r"(?s)ended without 'three'.*one\ntwo"):
            child.await_line("three")


def test_child_that_says_nothing_is_not_waited_for_longer():
    with python("import time; time.sleep(60)") as child:
        with pytest.raises(AssertionError, match=r"took longer than 0\.1 s"):
            child.await_line("word", timeout_s=0.1)
        with pytest.raises(AssertionError, match="still runs"):
            child.wait(0.1)
    assert not child.running
