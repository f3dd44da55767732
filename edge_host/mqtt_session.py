"""paho's client as both programs use it: for one session, written to by one thread, and with a limit.

paho carries the wire alone. It never reconnects and acknowledges nothing by itself: a session that ends is
over, and the next one is a new client.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties

from edge_host.mqtt_packets import Incoming

_CONNECT_TIMEOUT_S: Final = 15.0
"""For one address of the broker: a satellite link needs several seconds."""


class SessionClient(paho.Client):
    """Raises `PacketRefusedError` out of ``loop`` where the broker sends what we do not take."""

    def __init__(
        self,
        client_id: str,
        *,
        is_v5: bool,
        most_packet_bytes: int,
        most_queued: int,
        is_fresh: bool = False,
    ) -> None:
        """Prepare a session.

        Args:
            most_packet_bytes: of a packet from the broker, after its header.
            is_fresh: one of MQTT 3.1.1 begins without what the broker had kept; of MQTT 5 ``connect`` says so.
        """
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if is_v5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if is_v5 else is_fresh,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self.suppress_exceptions = True
        self.connect_timeout = _CONNECT_TIMEOUT_S
        self.max_queued_messages_set(most_queued)
        self._incoming = Incoming(most_packet_bytes)
        # With this set, publish() leaves the writing to the thread of ``loop``. Without it the caller
        # writes too, and two threads tear each other's packets where the socket takes only a part.
        self.on_socket_register_write = _leave_it_to_the_loop

    def log_in(
        self, username: str | None, password: str | None, tls: ssl.SSLContext | None
    ) -> None:
        if username is not None:
            self.username_pw_set(username, password)
        if tls is not None:
            self.tls_set_context(tls)

    def cut(self) -> None:
        """Cut the connection; the broker publishes the will."""
        connection = self.socket()
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def let_go(self) -> None:
        """Close what is open, at once.

        Callbacks hold whoever set them: without them no cycle is left, so that paho's sockets close
        when the last reference goes and not at some later collection.
        """
        self.on_connect = self.on_publish = self.on_message = None
        self.on_subscribe = self.on_disconnect = None
        connection = self.socket()
        if connection is not None:
            connection.close()

    def _sock_recv(self, bufsize: int) -> bytes:
        # paho has no public place between its socket and its memory. All that it reads comes through
        # this method; a test holds that.
        data = super()._sock_recv(bufsize)
        self._incoming.take(data, is_behind=self.want_write())
        return data


def properties(packet: int, **values: object) -> Properties:
    """Return properties of MQTT 5 for a packet of that type."""
    found = Properties(packet)  # type: ignore[no-untyped-call]  # paho left it bare
    for name, value in values.items():
        setattr(found, name, value)
    return found


def _leave_it_to_the_loop(_client: object, _data: object, _socket: object) -> None:
    return None
