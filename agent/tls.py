"""TLS that verifies: a context from the settings, for `ssl` and for bare `tls`."""

from errno import EIO

try:
    import ssl
except ImportError:
    import tls as ssl  # the unix port has no ssl


def context(ca):
    """Return a client context that checks the server's certificate and its name.

    ca: the path of the authority's certificate, DER or PEM. Raises OSError(EIO) when the file
    can't be read or holds no certificate.
    """
    try:
        with open(ca, "rb") as file:
            return _context(file.read())
    except (OSError, ValueError) as e:
        raise OSError(EIO, "TLS: %s is no file of a certificate (%s)" % (ca, e))


def _context(data):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # MicroPython verifies nothing until it is told to.
    made.verify_mode = ssl.CERT_REQUIRED  # pyright: ignore[reportAttributeAccessIssue]
    try:
        made.load_verify_locations(cadata=data)
    except TypeError:
        made.load_verify_locations(data)
    return made
