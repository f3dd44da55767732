"""One session with a broker, from the connection until it ends: all of the server that knows paho.

The next one is a new client, with the files as they are then.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes

from edge_host.mqtt_session import SessionClient, properties
from ingest_server.fleet.broker_words import Ended
from ingest_server.fleet.mqtt_messages import Saying

CLIENT_ID = "edgeup-ingest-server"
KEEP_ALIVE_S = 60
ANSWER_S = 10.0
"""From the connection to the broker's answer: one that knows another version may say nothing."""
KEPT_S = 86_400
"""How long a broker keeps for us what devices say while the server is away."""
MOST_UNACKNOWLEDGED = 20
"""Messages that the broker sends before one is acknowledged: the rest waits there."""
MOST_PACKET_BYTES = 65_536
_AROUND_BYTES = 20
"""What MQTT adds to a topic and a payload, at most."""
MOST_ON_THE_WAY = 1000
"""Of our own, without the broker's acknowledgement."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where the broker is and who we are, as the files say now."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    username: str | None
    password: str | None


@dataclass(frozen=True, slots=True)
class Received:
    """A message; the broker forgets it when it is acknowledged."""

    topic: str
    payload: bytes
    is_retained: bool
    mid: int
    qos: int


@dataclass(frozen=True, slots=True)
class _OnTheWay:
    topic: str
    answers: SimpleQueue[Any] | None = None


@dataclass(frozen=True, slots=True)
class _TooLarge:
    """Instead of the broker's answer: it would end the session for such a message, each time it is said."""

    length: int
    most: int
    is_failure: bool = True

    def __str__(self) -> str:
        return f"{self.length} bytes are more than the {self.most} that it takes"


class Listener(Protocol):
    """What is told in the session's thread; must not raise."""

    def opened(self) -> None:
        """The broker took us, and was asked for all topics."""

    def heard(self, message: Received) -> None: ...

    def refused(self, topic: str, reason: str) -> None:
        """The broker does not let us say, or hear, what belongs to *topic*; for any thread."""


class Session:
    """Runs in the thread of whoever calls `run`, where paho says what has come; all else is for any thread."""

    def __init__(
        self,
        login: Login,
        will: Saying,
        topics: Iterable[str],
        listener: Listener,
        *,
        is_v5: bool,
        now_s: Callable[[], float],
    ) -> None:
        self._login = login
        self._topics = tuple(topics)
        self._listener = listener
        self._now_s = now_s
        self.is_v5 = is_v5
        self.is_open = False
        self._is_closing = threading.Event()
        self._is_answered = False
        self._most_bytes: int | None = None
        """What the broker takes in one packet, if it says so."""
        self._end = Ended()
        self._lock = threading.Lock()
        self._on_the_way: dict[int, _OnTheWay] = {}
        self._early: dict[int, Any] = {}
        """What the broker said to a message whose id we were not told yet."""
        self._client = self._made(will)

    def run(self) -> Ended:
        """Connect and stay until the end; return why it came."""
        try:
            self._connect()
            self._stay()
        except OSError as error:
            # Without its traceback, which holds this frame, and a socket that paho left open.
            why = error.with_traceback(None)
            self._end = Ended(why=why, was_reached=self._end.was_reached)
        except Exception as error:  # noqa: BLE001 - a broker's nonsense ends its session, no more
            self._end = Ended(why=error, was_reached=True)
        finally:
            self.is_open = False
            self._client.let_go()
        return self._end

    def publish(self, saying: Saying, answers: SimpleQueue[Any] | None = None) -> bool:
        """Say it, if the session lives for so long.

        Args:
            answers: is given what the broker answers.

        Returns:
            Whether there was room for it: else it is not said.
        """
        one = _OnTheWay(saying.topic, answers)
        length = len(saying.topic.encode()) + len(saying.payload) + _AROUND_BYTES
        if self._most_bytes is not None and length > self._most_bytes:
            self._answered(one, _TooLarge(length, self._most_bytes))
            return True
        more = None
        if self.is_v5 and saying.expires_s is not None:
            more = properties(PacketTypes.PUBLISH, MessageExpiryInterval=saying.expires_s)
        info = self._client.publish(saying.topic, saying.payload, 1, saying.is_retained, more)
        if info.rc is MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            return False  # no answer to it will come
        with self._lock:
            reason = self._early.pop(info.mid, None)
            if reason is None:
                self._on_the_way[info.mid] = one
        if reason is not None:
            self._answered(one, reason)
        return True

    @property
    def has_room(self) -> bool:
        return len(self._on_the_way) < MOST_ON_THE_WAY

    def acknowledge(self, message: Received) -> None:
        self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """Begin a clean end: what was said before goes first; the will is not said."""
        self._is_closing.set()
        self._client.disconnect()

    def abort(self) -> None:
        """Cut the connection; the broker says the will."""
        self._is_closing.set()
        self._client.cut()

    def _made(self, will: Saying) -> SessionClient:
        client = SessionClient(
            CLIENT_ID,
            is_v5=self.is_v5,
            most_packet_bytes=MOST_PACKET_BYTES,
            most_queued=MOST_ON_THE_WAY,
        )
        client.log_in(self._login.username, self._login.password, self._login.tls)
        client.will_set(will.topic, will.payload, 1, retain=True)
        client.on_connect = self._connected
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        client.on_message = self._heard
        client.on_disconnect = self._disconnected
        return client

    def _connect(self) -> None:
        login = self._login
        if self.is_v5:
            kept = properties(
                PacketTypes.CONNECT,
                SessionExpiryInterval=KEPT_S,
                ReceiveMaximum=MOST_UNACKNOWLEDGED,
                MaximumPacketSize=MOST_PACKET_BYTES,
            )
            self._client.connect(
                login.host, login.port, KEEP_ALIVE_S, clean_start=False, properties=kept
            )
        else:
            self._client.connect(login.host, login.port, KEEP_ALIVE_S)
        self._end = Ended(was_reached=True)

    def _stay(self) -> None:
        until_s = self._now_s() + ANSWER_S
        wait_s = 1.0
        while self._client.loop(wait_s) is MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._is_answered:
                wait_s = KEEP_ALIVE_S / 4
            elif self._is_closing.is_set():
                return
            elif self._now_s() >= until_s:
                self._end = Ended(was_reached=True, is_silent=True)
                return

    def _connected(
        self, client: paho.Client, _data: object, _flags: object, reason: Any, told: object
    ) -> None:
        self._is_answered = True
        self._most_bytes = getattr(told, "MaximumPacketSize", None)
        if reason.is_failure:
            self._end = Ended(reason.value, str(reason), was_reached=True, was_answered=True)
            return
        self._end = Ended(was_reached=True, was_answered=True, was_taken=True)
        if self._topics:
            client.subscribe([(topic, 1) for topic in self._topics])
        self.is_open = True
        self._listener.opened()

    def _published(
        self, _client: object, _data: object, mid: int, reason: Any, _properties: object
    ) -> None:
        # paho holds a lock that its `publish` takes, too: nothing of it is called with ours held.
        with self._lock:
            one = self._on_the_way.pop(mid, None)
            if one is None:
                self._early[mid] = reason
        if one is not None:
            self._answered(one, reason)

    def _answered(self, one: _OnTheWay, reason: Any) -> None:
        if reason.is_failure:
            self._listener.refused(one.topic, str(reason))
        if one.answers is not None:
            one.answers.put(reason)

    def _subscribed(
        self, _client: object, _data: object, _mid: int, reasons: Any, _properties: object
    ) -> None:
        for topic, reason in zip(self._topics, reasons, strict=False):
            self._answered(_OnTheWay(topic), reason)

    def _heard(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self._listener.heard(
            Received(
                message.topic,
                bytes(message.payload),
                bool(message.retain),
                message.mid,
                message.qos,
            )
        )

    def _disconnected(
        self, _client: object, _data: object, flags: Any, reason: Any, _properties: object
    ) -> None:
        if self._end.code:
            return  # the refusal says more than the end of the connection
        code, said = 0, ""
        if flags.is_disconnect_packet_from_server:
            code, said = reason.value, str(reason)
        was_answered = self._is_answered
        self._end = Ended(
            code, said, was_reached=True, was_answered=was_answered, was_taken=was_answered
        )
