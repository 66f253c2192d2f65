"""TLS that verifies: a context from the settings, and what its errors mean."""

from binascii import a2b_base64
from errno import ECONNRESET, EIO

from micropython import const

from .clock import RELEASED_MS, Clock, format_iso8601

_BEGIN = b"-----BEGIN CERTIFICATE-----"

# What is lower is mbedTLS's.
_LOWEST_ERRNO = const(-255)

_EPIPE = const(32)  # errno has no name for it on some ports

_CLOCK = "by this board's clock, %s, the server's certificate is not valid yet: set the clock"

# mbedTLS's words, or its number where a firmware has none, and what to say. The first match counts.
_MEANINGS = (
    ("CN", "the server's certificate is for another name than `host`"),
    ("signed by", "the certificate in `ca` is not of the authority that signed the server's"),
    ("expired", "the server's certificate has expired and must be renewed"),
    ("-9984", "the server's certificate is not valid, or not signed by the authority in `ca`"),
    ("-30592", "the server ended the handshake; it may ask for a certificate of the board's"),
)


def context(ca):
    """Return a client context that checks the server's certificate and its name.

    ca: the path of a file with the authority's certificate, DER or PEM; PEM may hold several.
    Raises OSError(EIO) when the file can't be read or holds no certificate.
    """
    import tls  # a host has none

    try:
        with open(ca, "rb") as file:
            certificates = _certificates(file.read())
        made = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        # The default of `tls`, though not of `ssl`; nobody should have to know that.
        made.verify_mode = tls.CERT_REQUIRED  # pyright: ignore[reportAttributeAccessIssue]
        for certificate in certificates:
            made.load_verify_locations(certificate)
    except (OSError, ValueError) as e:
        raise OSError(EIO, "TLS: %s is no file of a certificate (%s)" % (ca, e))
    return made


def explain(error):
    """Return what reading or writing over TLS raised as an OSError that can be acted upon."""
    code = error.args[0] if error.args else 0
    of_verification = isinstance(error, ValueError)
    if not of_verification and code >= _LOWEST_ERRNO:
        # Below TLS: the system's own error, its sign turned over once the handshake is done.
        return OSError(ECONNRESET) if code == -_EPIPE else OSError(-code) if code < 0 else error
    text = str(error).strip()
    board_ms = Clock().now_ms()
    if "future" in text or (board_ms < RELEASED_MS and (of_verification or "-9984" in text)):
        text = _CLOCK % format_iso8601(board_ms)[:10]
    else:
        for sign, meaning in _MEANINGS:
            if sign in text:
                text = meaning
                break
    return OSError(EIO, "TLS: " + text)


def _certificates(data):
    # Not every firmware reads PEM: DER is what all take.
    if data.find(_BEGIN) < 0:
        return (data,)
    parts = data.split(_BEGIN)[1:]
    return [a2b_base64(part[: part.find(b"-----END")]) for part in parts]
