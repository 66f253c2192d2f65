"""One MQTT connection: from CONNECT to its end."""

import asyncio
import logging
import socket

from amqtt.mqtt.connack import (
    BAD_USERNAME_PASSWORD,
    CONNECTION_ACCEPTED,
    IDENTIFIER_REJECTED,
    NOT_AUTHORIZED,
    UNACCEPTABLE_PROTOCOL_VERSION,
    ConnackPacket,
)
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket

from . import fields, frames, packets, topics
from .packets import Malformed
from .refusal import Refusal
from .sessions import NEEDED, Session, Subscription, numbers

log = logging.getLogger(__name__)

_REFUSED = 0x80
_FILTERS_LIMIT = 1000
# Answers are joined up to this many bytes before they are written.
_JOIN = 2**14
_LINGER_S = 5


class Connection:
    """One client of a Broker; `run` serves it until it goes."""

    def __init__(self, broker, reader, writer):
        self._broker = broker
        self._traps = broker.traps
        self._reader = reader
        self._writer = writer
        self._out = bytearray()
        self._loop = asyncio.get_running_loop()
        self._patience_s = broker.connect_timeout_s
        self._heard = self._loop.time()
        self._will = None
        # Subscriptions by filter; None for a filter that DeviceHive has no part in.
        self.session = Session()
        self.client_id = None
        self.clean = True

    async def run(self):
        """Serve the client until it leaves, breaks the protocol or falls silent."""
        self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch_handle = self._loop.call_later(self._patience_s, self._watch)
        try:
            await self._serve()
        except Malformed as error:
            log.info("%s: closed: %s", self.client_id, error)
        except (EOFError, OSError):
            log.info("%s: gone", self.client_id)
        finally:
            self._leave()
        # Not reached when the hub stops: then no will is carried out.
        if self._will is not None:
            self._publish(*self._will)

    async def _serve(self):
        if not await self._connect():
            return
        while True:
            packet = await self._read()
            if isinstance(packet, DisconnectPacket):
                self._will = None
                return
            self._handle(packet)
            if len(self._out) >= _JOIN:
                self._flush()
            # Waits only for a client that does not read, so that it cannot fill the memory.
            await self._writer.drain()

    async def _read(self):
        packet = await packets.read(self._reader, self._broker.packet_limit)
        self._heard = self._loop.time()
        return packet

    def _watch(self):
        # Whole packets count as signs of life; single bytes do not.
        rest = self._heard + self._patience_s - self._loop.time()
        if rest > 0:
            self._watch_handle = self._loop.call_later(rest, self._watch)
        else:
            log.info("%s: silent for too long", self.client_id)
            self._writer.transport.abort()

    def _leave(self):
        self._watch_handle.cancel()
        if self._broker.clients.get(self.client_id) is self:
            del self._broker.clients[self.client_id]
            self._traps.ask("left", self)
        self._flush()
        self._writer.close()
        # What is still unsent gets a little time, not for ever.
        self._loop.call_later(_LINGER_S, self._writer.transport.abort)

    # CONNECT

    async def _connect(self):
        try:
            packet = await self._read()
        except packets.WrongLevel:
            return self._acknowledge(UNACCEPTABLE_PROTOCOL_VERSION)
        if not isinstance(packet, ConnectPacket):
            raise Malformed("something before CONNECT")
        code = self._admit(packet)
        if code != CONNECTION_ACCEPTED:
            return self._acknowledge(code)
        self.client_id = packet.client_id
        self._broker.clients[self.client_id] = self
        if packet.will_flag:
            self._will = _checked_topic(packet.will_topic), packet.will_message
        self._set_patience(packet.keep_alive)
        self.clean = packet.clean_session_flag
        return self._acknowledge(code, bool(self._traps.ask("connected", self)))

    def _admit(self, packet):
        if not packets.acceptable_id(packet):
            return IDENTIFIER_REJECTED
        if packet.client_id in self._broker.clients:
            # No takeover: the first keeps the id until it is gone.
            return BAD_USERNAME_PASSWORD if self._traps.ask("in_use") else NOT_AUTHORIZED
        if self._traps.ask("locks", packet.client_id):
            return NOT_AUTHORIZED
        # A user name without a password is as anonymous as none.
        if packet.username_flag and packet.password_flag:
            try:
                user = self._broker.tokens.login(packet.username, packet.password)
            except Refusal:
                self._traps.ask("wrong_password")
                return BAD_USERNAME_PASSWORD
            self.session.principal = self._broker.tokens.own_principal(user)
        return CONNECTION_ACCEPTED

    def _acknowledge(self, code, session_present=False):
        self._send(ConnackPacket.build(int(session_present), code))
        return code == CONNECTION_ACCEPTED

    def _set_patience(self, keepalive_s):
        self._watch_handle.cancel()
        if keepalive_s:
            self._patience_s = keepalive_s * self._broker.keepalive_factor
            self._watch()

    # What the client sends

    def _handle(self, packet):
        if isinstance(packet, PublishPacket):
            self._accept(packet)
        elif isinstance(packet, SubscribePacket):
            self._subscribe(packet)
        elif isinstance(packet, UnsubscribePacket):
            self._unsubscribe(packet)
        elif isinstance(packet, PingReqPacket):
            self._send(PingRespPacket())
        elif not isinstance(packet, PubackPacket):
            raise Malformed("a second CONNECT")

    def _accept(self, packet):
        if packet.qos == 2:
            raise Malformed("QoS 2 is not served")
        topic = _checked_topic(packet.topic_name)
        if packet.qos:
            self._send(PubackPacket.build(_checked_id(packet)))
        self._publish(topic, packet.data)

    def _publish(self, topic, payload):
        if topic == topics.REQUEST:
            self._request(payload)
        elif not topics.is_hive(topic) or self._traps.ask("echoes", topic):
            self._broker.spread(topic, payload)

    def _request(self, payload):
        try:
            frame = frames.read(payload)
        except ValueError:
            # The error frame names no action, so there is no topic that could carry it.
            return
        if not self._traps.ask("takes", self, frame):
            self.perform(frame)

    def perform(self, frame):
        """Carry out a request and answer it."""
        answer = self._broker.actions.answer(self.session, frame)
        if answer is None or not isinstance(answer.get("action"), str) or "@" in self.client_id:
            return
        # For the number of a subscription the broker looks among its own and finds none: the
        # answer is lost, and so are the pushes. Only SUBSCRIBE works here.
        if "subscriptionId" in answer:
            return
        topic = topics.response(answer["action"], self.client_id)
        # Only the exact topic counts; `dh/response/#` is granted and stays empty.
        if topic not in self.session.subscriptions:
            return
        payload = frames.write(answer)
        if not self._traps.ask("answers", self, topic, payload):
            self.send_message(topic, payload)

    def _subscribe(self, packet):
        wanted = packet.payload.topics
        if not wanted or not all(
            topics.sound_filter(topic_filter) and qos <= 2 for topic_filter, qos in wanted
        ):
            raise Malformed("a SUBSCRIBE that asks for nothing sound")
        packet_id = _checked_id(packet)
        hold_s = self._traps.ask("holds", self, [topic_filter for topic_filter, _qos in wanted])
        if hold_s:
            self._loop.call_later(hold_s, self._grant_all, packet_id, wanted)
        else:
            self._grant_all(packet_id, wanted)

    def _grant_all(self, packet_id, wanted):
        if self._writer.is_closing():
            return
        codes = [
            min(qos, 1) if self._grant(topic_filter) else _REFUSED for topic_filter, qos in wanted
        ]
        self._send(SubackPacket.build(packet_id, codes))

    def _unsubscribe(self, packet):
        if not packet.payload.topics:
            raise Malformed("an UNSUBSCRIBE from nothing")
        for topic_filter in packet.payload.topics:
            self.session.subscriptions.pop(topic_filter, None)
            self._traps.ask("unsubscribed", self, topic_filter)
        self._send(UnsubackPacket.build(_checked_id(packet)))

    def _grant(self, topic_filter):
        kept = self.session.subscriptions
        # A filter that is held already stays as it is, also one whose device was deleted.
        if topic_filter in kept:
            return True
        if len(kept) >= _FILTERS_LIMIT:
            return False
        if self._traps.ask("covers", self, topic_filter):
            kept[topic_filter] = None
            return True
        try:
            kept[topic_filter] = self._subscription(topic_filter)
        except Refusal as refusal:
            log.info("%s: %s: %s", self.client_id, topic_filter, refusal.text)
            self._traps.ask("refused", self, topic_filter)
            return False
        if kept[topic_filter] is not None:
            self._traps.ask("granted", topic_filter, kept[topic_filter])
        return True

    def _subscription(self, topic_filter):
        if not topics.is_hive(topic_filter):
            return None
        principal = self.session.principal
        if principal is None and topic_filter in topics.open_responses(self.client_id):
            return None
        if principal is None or topic_filter in ("dh", topics.REQUEST):
            raise Refusal(403, "this topic may not be subscribed")
        meaning = topics.meaning(topic_filter)
        if meaning is None:
            return None
        self.session.demand(NEEDED[meaning["event"]])
        if meaning["device"] is not None:
            self._broker.actions.device(principal, meaning["device"])
        now = self._broker.store.now_ms()
        return Subscription(next(numbers), principal=principal, timestamp=now, **meaning)

    # What the client gets

    def awaiting(self, topic, event, record):
        """The subscriptions that wait for a change: (filter, Subscription) of each."""
        return [
            (topic_filter, subscription)
            for topic_filter, subscription in self.session.subscriptions.items()
            if subscription
            and subscription.matches(event, record)
            and topics.matches(topic_filter, topic)
        ]

    def push(self, topic, event, record, subscription):
        """Push a change to the client."""
        self.send_message(topic, frames.write(fields.push(event, record, subscription)))

    def drop(self, device_id):
        """End the subscriptions to a device that is deleted.

        The server does it without a word, and the client keeps a filter that is dead.
        """
        self.session.forget(lambda kept: kept.device == device_id)

    def deliver(self, topic, payload):
        """Deliver an ordinary message once, if one of the client's filters matches."""
        if any(topics.matches(kept, topic) for kept in self.session.subscriptions):
            self.send_message(topic, payload)

    def send_message(self, topic, payload):
        """Send the client a message at QoS 0."""
        self._send(PublishPacket.build(topic, payload, None, False, 0, False))

    def _send(self, packet):
        if not self._out:
            # Everything that one turn of the loop produces leaves in one write.
            self._loop.call_soon(self._flush)
        self._out += packet.to_bytes()
        waiting = len(self._out) + self._writer.transport.get_write_buffer_size()
        if waiting > self._broker.backlog_limit:
            log.info("%s: reads too slowly", self.client_id)
            self._out.clear()
            self._writer.transport.abort()

    def _flush(self):
        if self._out and not self._writer.is_closing():
            self._writer.write(bytes(self._out))
            self._out.clear()


def _checked_topic(topic):
    if not topics.sound_name(topic):
        raise Malformed("a topic that cannot be published to")
    return topic


def _checked_id(packet):
    packet_id = packet.variable_header.packet_id
    if not packet_id:
        raise Malformed("packet id 0")
    return packet_id
