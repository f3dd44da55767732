"""One session with an MQTT broker, from connect until it ends: with `edge_host.mqtt_session` all that knows paho.

paho is used for the wire alone, and never queues for us. That avoids what goes wrong in long-running
paho clients (a network thread that died unseen, a message repeated for ever, a second delivery after ours).

Its callbacks only put what they heard into the listener; they do not publish and cannot raise.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.net.route import why_none
from edge_agent.report.broker.heard import (
    Acknowledged,
    Connected,
    Ended,
    Heard,
    Message,
    Reached,
    Received,
    Subscribed,
    Subscription,
)
from edge_agent.report.broker.login import Login, why_not_reached
from edge_host.mqtt_packets import PacketRefusedError
from edge_host.mqtt_session import SessionClient, properties

MAX_PACKET_BYTES: Final = 256 * 1024
"""After its header. The largest honest one, our own ``status``, has less than 1 KiB."""
_SUCCESS: Final = MQTTErrorCode.MQTT_ERR_SUCCESS
MAX_UNACKNOWLEDGED: Final = 16
"""Messages that a broker of MQTT 5 may send before one is acknowledged: the rest of a flood waits with
it."""
_NOT_AT_SUBSCRIBE: Final = 2
"""Retain handling: keep what you have (MQTT 5, section 3.8.3.1)."""


class MqttClient:
    """One connection in its own thread, where names are looked up and TLS is spoken too.

    paho calls what begins with ``_on_`` there.
    """

    def __init__(
        self,
        login: Login,
        will: Message | None,
        heard: Callable[[Heard], None],
        *,
        is_v5: bool,
        will_delay_s: int = 0,
        session_s: int = 0,
        is_fresh: bool = False,
    ) -> None:
        """Prepare a session.

        Args:
            heard: called in the network thread; must return at once and must not raise.
            session_s: how long the broker keeps the session when we are gone; 0: not at all.
            is_fresh: the broker forgets what it had kept for an earlier session.
        """
        self._login = login
        self._heard = heard
        self._is_v5 = is_v5
        self._session_s = session_s
        self._is_fresh = is_fresh or session_s == 0
        self._was_refused = False
        self._end = Ended(0, "", was_answered=False, was_reached=False)
        self._is_answered = False
        self._is_closing = threading.Event()
        self._client = self._make_client(will, will_delay_s)
        self._thread = threading.Thread(target=self._run, name="mqtt-session", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def publish(self, message: Message, limits: Connected) -> int:
        """Hand *message* to the network thread; return its packet id.

        Nothing is said of whether it was sent: paho's own answer is wrong where the connection ends
        at this moment. Either an acknowledgement follows or the end of the session.
        """
        more: Properties | None = None
        if self._is_v5:
            more = properties(
                PacketTypes.PUBLISH, ContentType="application/json", PayloadFormatIndicator=1
            )
            if message.expiry_s is not None:
                more.MessageExpiryInterval = message.expiry_s
        info = self._client.publish(
            message.topic,
            message.payload,
            min(message.qos, limits.maximum_qos),
            message.is_retained and limits.takes_retained,
            more,
        )
        return info.mid

    def subscribe(self, wanted: Iterable[Subscription]) -> dict[int, str]:
        """Ask for messages; return packet id -> topic, for each of which an answer is heard."""
        asked: dict[int, str] = {}
        for one in wanted:
            if self._is_v5:
                handling = 0 if one.wants_retained else _NOT_AT_SUBSCRIBE
                options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=handling)
                mid = self._client.subscribe(one.topic, options=options)[1]
            else:
                mid = self._client.subscribe(one.topic, qos=1)[1]
            if mid is not None:
                asked[mid] = one.topic
        return asked

    def acknowledge(self, message: Received) -> None:
        """Tell the broker that *message* is ours now: it will not be sent again."""
        self._client.ack(message.mid, message.qos)

    def close(self) -> None:
        """Begin a clean end: what was published before is sent first. The will is not."""
        self._is_closing.set()
        self._client.disconnect()

    def abort(self) -> None:
        """Cut the connection; the broker publishes the will."""
        self._is_closing.set()
        self._client.cut()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; return whether it ended."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def _make_client(self, will: Message | None, will_delay_s: int) -> SessionClient:
        login = self._login
        client = SessionClient(
            login.client_id,
            is_v5=self._is_v5,
            most_packet_bytes=MAX_PACKET_BYTES,
            most_queued=100,
            is_fresh=self._is_fresh,
        )
        client.max_inflight_messages_set(100)
        client.log_in(login.username, login.password, login.tls)
        if will is not None:
            more = None
            if self._is_v5:
                more = properties(
                    PacketTypes.WILLMESSAGE,
                    WillDelayInterval=will_delay_s,
                    ContentType="application/json",
                    PayloadFormatIndicator=1,
                )
            client.will_set(will.topic, will.payload, will.qos, will.is_retained, more)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        return client

    def _run(self) -> None:
        reason = ""
        try:
            self._connect()
            if self._is_closing.is_set():
                return  # given up meanwhile: a CONNECT now would steal the next session
            self._heard(Reached())
            # The broker may want to hear of us more often than we had in mind; 0: not at all.
            while self._client.loop(min(30.0, (self._client.keepalive or 60) / 2)) is _SUCCESS:
                if self._is_closing.is_set() and not self._is_answered:
                    break  # nothing to say goodbye to
        except (OSError, ssl.SSLError) as error:
            reason = why_none(self._login.address.host, ()) or why_not_reached(error)
        except PacketRefusedError as error:
            self._was_refused, reason = True, str(error)
        except Exception as error:  # noqa: BLE001 - a broker's nonsense ends its session, no more
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._leave(reason)

    def _connect(self) -> None:
        address = self._login.address
        if self._is_v5:
            self._client.connect(
                address.host,
                address.port,
                self._login.keepalive_s,
                clean_start=self._is_fresh,
                properties=properties(
                    PacketTypes.CONNECT,
                    SessionExpiryInterval=self._session_s,
                    ReceiveMaximum=MAX_UNACKNOWLEDGED,
                    MaximumPacketSize=MAX_PACKET_BYTES,
                ),
            )
        else:
            self._client.connect(address.host, address.port, self._login.keepalive_s)
        self._end = Ended(0, "", was_answered=False, was_reached=True)

    def _leave(self, reason: str) -> None:
        self._client.let_go()
        end = self._end
        self._heard(
            Ended(
                end.code,
                end.reason or reason or "the connection was closed",
                was_answered=self._is_answered,
                was_reached=end.was_reached,
                was_refused=self._was_refused,
            )
        )

    def _on_connect(
        self, _client: object, _data: object, flags: Any, code: ReasonCode, told: Any
    ) -> None:
        self._is_answered = True
        if code.is_failure:
            self._end = Ended(code.value, str(code), was_answered=True, was_reached=True)
            return
        self._heard(
            Connected(
                is_session_present=flags.session_present,
                maximum_packet_bytes=getattr(told, "MaximumPacketSize", None),
                receive_maximum=getattr(told, "ReceiveMaximum", 65_535),
                maximum_qos=getattr(told, "MaximumQoS", 2),
                takes_retained=bool(getattr(told, "RetainAvailable", 1)),
            )
        )

    def _on_publish(
        self, _client: object, _data: object, mid: int, code: ReasonCode, _properties: object
    ) -> None:
        self._heard(Acknowledged(mid, code.value, str(code)))

    def _on_subscribe(
        self, _client: object, _data: object, mid: int, codes: Any, _properties: object
    ) -> None:
        self._heard(Subscribed(mid, codes[0].value, str(codes[0])))

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        payload = bytes(message.payload)
        is_retained = bool(message.retain)
        self._heard(Received(message.topic, payload, is_retained, message.mid, message.qos))

    def _on_disconnect(
        self, _client: object, _data: object, flags: Any, code: ReasonCode, _properties: object
    ) -> None:
        if self._end.code:
            return  # the refusal of the CONNECT says more than the end of the connection
        is_from_broker = flags.is_disconnect_packet_from_server
        self._end = Ended(
            code.value if is_from_broker else 0,
            str(code) if is_from_broker else "",
            was_answered=self._is_answered,
            was_reached=True,
        )
