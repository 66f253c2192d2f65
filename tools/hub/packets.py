"""MQTT 3.1.1 packets from a stream, read strictly, on amqtt's packet classes.

amqtt decodes generously: text that is not UTF-8 becomes something else, and missing or extra
bytes pass. So every packet is bounded before it is read, and must encode back to its bytes.
"""

import io
import struct

from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt import packet as kinds
from amqtt.mqtt import packet_class
from amqtt.mqtt.connect import ConnectVariableHeader
from amqtt.mqtt.packet import MQTTFixedHeader

# What a client may send, with the flags that the fixed header must have (MQTT 3.1.1, 2.2.2);
# None where they have a meaning.
_FLAGS = {
    kinds.CONNECT: 0,
    kinds.PUBLISH: None,
    kinds.PUBACK: 0,
    kinds.SUBSCRIBE: 2,
    kinds.UNSUBSCRIBE: 2,
    kinds.PINGREQ: 0,
    kinds.DISCONNECT: 0,
}
_NAMES = {("MQTT", 4), ("MQIsdp", 3)}
_MQTT_31_CLIENT_ID = 23
# amqtt's time for lists of topics grows with the square of their length.
_LISTS = (kinds.SUBSCRIBE, kinds.UNSUBSCRIBE)
_LIST_LIMIT = 2**16
_DECODING = (AMQTTError, CodecError, MQTTError, NoDataError, ValueError, struct.error)


class Malformed(Exception):
    """A packet that is no MQTT 3.1.1, is too large, or may not be sent by a client."""


class WrongLevel(Malformed):
    """A CONNECT of another protocol level, MQTT 5 for one."""


class _Body:
    # What amqtt's decoders read from.
    def __init__(self, data):
        self._stream = io.BytesIO(data)

    async def read(self, n=-1):
        return self._stream.read(n)


async def read(stream, limit):
    """The next packet from a StreamReader.

    Arguments:
        stream: the StreamReader.
        limit: the most bytes a packet may have after its fixed header; lists of topics
            may have 64 KiB.

    Raises:
        Malformed, WrongLevel: see there. EOFError: the stream ended.
    """
    try:
        fixed = await MQTTFixedHeader.from_stream(stream)
    except MQTTError as error:
        raise Malformed(str(error)) from None
    if fixed is None:
        raise EOFError
    _check_header(fixed, limit)
    # IncompleteReadError is an EOFError.
    data = await stream.readexactly(fixed.remaining_length)
    if fixed.packet_type == kinds.CONNECT:
        await _check_level(data)
    try:
        packet = await packet_class(fixed).from_stream(_Body(data), fixed_header=fixed)
        again = _encoded(packet)
    except _DECODING as error:
        raise Malformed(f"cannot decode: {error}") from None
    if again != data:
        raise Malformed("the packet does not hold what it says")
    if fixed.packet_type == kinds.CONNECT:
        _check_connect(packet)
    return packet


def _check_header(fixed, limit):
    flags = _FLAGS.get(fixed.packet_type, -1)
    if flags not in (None, fixed.flags):
        raise Malformed(f"packet type {fixed.packet_type} with flags {fixed.flags}")
    if fixed.packet_type == kinds.PUBLISH and fixed.flags & 0x06 == 0x06:
        raise Malformed("QoS 3")
    if fixed.packet_type in _LISTS:
        limit = min(limit, _LIST_LIMIT)
    if fixed.remaining_length > limit:
        raise Malformed(f"a packet of {fixed.remaining_length} bytes")


async def _check_level(data):
    try:
        header = await ConnectVariableHeader.from_stream(_Body(data), None)
    except _DECODING:
        raise Malformed("a CONNECT without a protocol") from None
    if (header.proto_name, header.proto_level) in _NAMES:
        return
    if header.proto_name in ("MQTT", "MQIsdp"):
        raise WrongLevel(f"protocol level {header.proto_level}")
    raise Malformed("another protocol")


def _encoded(packet):
    header, payload = packet.variable_header, packet.payload
    data = bytes(header.to_bytes()) if header is not None else b""
    if payload is None:
        return data
    if not getattr(payload, "client_id_is_random", False):
        return data + bytes(payload.to_bytes(packet.fixed_header, header))
    # amqtt has made up an id for the client that sent none.
    made_up, payload.client_id = payload.client_id, ""
    data += bytes(payload.to_bytes(packet.fixed_header, header))
    payload.client_id = made_up
    return data


def _check_connect(packet):
    header, payload = packet.variable_header, packet.payload
    fields = (
        (header.will_flag, payload.will_topic),
        (header.will_flag, payload.will_message),
        (header.username_flag, payload.username),
        (header.password_flag, payload.password),
    )
    if any(flag and value is None for flag, value in fields):
        raise Malformed("a CONNECT that is cut off")
    # MQTT 3.1.1, 3.1.2.3 to 3.1.2.9.
    will_bits = header.flags & (header.WILL_QOS_MASK | header.WILL_RETAIN_FLAG)
    if header.reserved_flag or header.will_qos == 3 or (will_bits and not header.will_flag):
        raise Malformed("a CONNECT with impossible flags")
    if header.password_flag and not header.username_flag:
        raise Malformed("a password without a user name")


def acceptable_id(packet):
    """Whether the CONNECT's client id may be used (MQTT 3.1.1, 3.1.3.1; MQTT 3.1)."""
    if packet.client_id_is_random:
        return packet.clean_session_flag
    return packet.proto_level == 4 or len(packet.client_id) <= _MQTT_31_CLIENT_ID
