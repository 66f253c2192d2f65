"""The answer no: a code and a text, the same for every way into the hub."""

UNAUTHORIZED = "Unauthorized"
DENIED = "Access is denied"
INVALID_CREDENTIALS = "Invalid credentials"
INVALID_PARAMETERS = "Invalid request parameters"
MALFORMED_JSON = "Malformed Json received."


class Refusal(Exception):
    """A request that DeviceHive refuses.

    Arguments:
        code: an HTTP status, which DeviceHive also uses in its action frames.
        text: the sentence sent back: `error` in a frame, `message` over REST.
    """

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code
        self.text = text


class Forgotten(Refusal):
    """An update to a command that is no longer kept.

    REST answers it with 404. Over the action frames DeviceHive never answers it at all.
    """
