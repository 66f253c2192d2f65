"""What TLS's errors mean, and certificates for a firmware that reads only DER."""

from binascii import b2a_base64
from errno import ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EIO, ETIMEDOUT

from agent import tls
from agent.clock import RELEASED_MS
from agent.session import describe

# As mbedTLS 3.6 gives them under MicroPython 1.25.
SIGNED = "\nThe certificate is not correctly signed by the trusted CA\n"
NAME = "\nThe certificate Common Name (CN) does not match with the expected CN\n"
EXPIRED = "\nThe certificate validity has expired\n"
FUTURE = "\nThe certificate validity starts in the future\n"


class Board:
    """Sets the board's clock for the length of a test."""

    def __init__(self, ms):
        self.ms = ms

    def __enter__(self):
        self._real = tls.Clock
        tls.Clock = lambda: self

    def __exit__(self, *exc):
        tls.Clock = self._real

    def now_ms(self):
        return self.ms


def explained(error, board_ms=RELEASED_MS):
    with Board(board_ms):
        error = tls.explain(error)
    assert error.errno == EIO and error.args[1].startswith("TLS: "), error
    assert "\n" not in error.args[1]
    return error.args[1]


def test_each_fault_of_a_certificate_has_its_own_sentence():
    sentences = {explained(ValueError(text)) for text in (SIGNED, NAME, EXPIRED, FUTURE)}
    assert len(sentences) == 4
    assert "authority" in explained(ValueError(SIGNED))
    assert "host" in explained(ValueError(NAME))
    assert "expired" in explained(ValueError(EXPIRED))


def test_a_certificate_of_the_future_is_the_clocks_fault():
    assert "clock, 2026-01-01" in explained(ValueError(FUTURE))
    assert "set the clock" in explained(ValueError(SIGNED + FUTURE))


def test_a_clock_that_was_never_set_is_blamed_for_whatever_is_wrong_with_the_certificate():
    year_2000 = 946684800000
    for error in (ValueError(SIGNED), ValueError(EXPIRED), OSError(-9984), OSError(-9984, "X509")):
        assert "clock, 2000-01-01" in explained(error, year_2000)
    # The alert says nothing of the date.
    assert "clock" not in explained(OSError(-30592), year_2000)


def test_a_firmware_without_texts_gives_numbers():
    assert "certificate is not valid" in explained(OSError(-9984))
    assert "certificate is not valid" in explained(OSError(-9984, "MBEDTLS_ERR_X509"))
    assert "ended the handshake" in explained(OSError(-30592))
    assert "-29184" in explained(OSError(-29184))


def test_what_is_not_about_tls_stays_what_it_is():
    for error in (
        OSError(ECONNRESET, "the broker closed the connection"),
        OSError(ETIMEDOUT, "no answer within 20000 ms"),
        OSError(ECONNREFUSED, ""),
    ):
        assert tls.explain(error) is error


def test_a_number_of_the_system_is_not_mistaken_for_a_name_that_was_not_found():
    # With the handshake behind it, MicroPython raises them with their sign turned over.
    for code, meant in ((ECONNRESET, ECONNRESET), (EHOSTUNREACH, EHOSTUNREACH), (32, ECONNRESET)):
        error = tls.explain(OSError(-code, ""))
        assert error.args[0] == meant
        assert "name" not in describe(error)


def pem(data):
    return b"-----BEGIN CERTIFICATE-----\r\n" + b2a_base64(data) + b"-----END CERTIFICATE-----\r\n"


def test_pem_becomes_der_one_certificate_at_a_time():
    first, second = bytes(range(48)) + b"\x00", b"\xff\xfe\xfd"
    text = b"subject=/CN=one\n" + pem(first) + b"\nsubject=/CN=two\n" + pem(second)
    assert list(tls._certificates(text)) == [first, second]


def test_der_is_left_alone():
    for data in (b"", b"\x30\x82\x01\x00"):
        assert list(tls._certificates(data)) == [data]
