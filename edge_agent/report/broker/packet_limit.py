"""paho's client with a limit on what it takes from a broker (`edge_host.mqtt_packets` says why)."""

from __future__ import annotations

from typing import Any, Final

import paho.mqtt.client as paho

from edge_host.mqtt_packets import Incoming

MAX_PACKET_BYTES: Final = 256 * 1024
"""After its header. The largest honest one, our own ``status``, has less than 1 KiB."""


class LimitedClient(paho.Client):
    """Raises `PacketRefusedError` out of ``loop`` where the broker sends what we do not take."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._incoming = Incoming(MAX_PACKET_BYTES)

    def _sock_recv(self, bufsize: int) -> bytes:
        # paho has no public place between its socket and its memory. All that it reads comes through
        # this method; a test holds that.
        data = super()._sock_recv(bufsize)
        self._incoming.take(data, is_behind=self.want_write())
        return data
