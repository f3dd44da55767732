"""How much of a broker's sending is taken: paho's client, which itself takes all, with a limit.

A header of five bytes may announce 256 MB, and paho collects them; it keeps what is sent with QoS 2
until its sender says more, and answers without end to a broker that reads no answers. Whoever stands on
an unencrypted way can say all of that. Nothing that is meant for us is large, so such a session ends at
the header.
"""

from __future__ import annotations

from typing import Any, Final

import paho.mqtt.client as paho

MAX_PACKET_BYTES: Final = 256 * 1024
"""After its header. The largest honest one, our own ``status``, has less than 1 KiB."""

_MAX_UNANSWERED: Final = 2000
"""Packets that come while answers wait to be sent: each answer takes some 600 bytes until then."""

_PUBLISH: Final = 3
_EXACTLY_ONCE: Final = 0b100
"""The bit of a PUBLISH's first byte that only QoS 2 sets (MQTT 5, section 3.3.1)."""


class PacketRefusedError(Exception):
    """The broker sends what we do not take; its text is a reason for a person."""


class Incoming:
    """Reads the headers of packets as their bytes pass by (MQTT 5, section 2.1)."""

    def __init__(self) -> None:
        self._is_in_header = False
        self._length = 0
        self._shift = 0
        self._left = 0
        """Bytes to come of the packet at hand."""

    def take(self, data: bytes) -> int:
        """Return how many packets begin in *data*.

        Raises:
            PacketRefusedError: one of them is none that we take.
        """
        begun = at = 0
        while at < len(data):
            if self._left:
                passing = min(self._left, len(data) - at)
                self._left -= passing
                at += passing
                continue
            if self._is_in_header:
                self._take_length(data[at])
            else:
                self._begin(data[at])
                begun += 1
            at += 1
        return begun

    def _begin(self, first: int) -> None:
        if first >> 4 == _PUBLISH and first & _EXACTLY_ONCE:
            raise PacketRefusedError("the broker sends with QoS 2, which nobody asked for")
        self._is_in_header, self._length, self._shift = True, 0, 0

    def _take_length(self, byte: int) -> None:
        self._length |= (byte & 127) << self._shift
        self._shift += 7
        if self._length > MAX_PACKET_BYTES:
            raise PacketRefusedError(
                f"the broker sends a packet of {self._length} bytes or more, the limit is"
                f" {MAX_PACKET_BYTES}"
            )
        if byte < 128:
            self._is_in_header, self._left = False, self._length


class LimitedClient(paho.Client):
    """Raises `PacketRefusedError` out of ``loop`` where the broker sends what we do not take."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._incoming = Incoming()
        self._unanswered = 0

    def _sock_recv(self, bufsize: int) -> bytes:
        # paho has no public place between its socket and its memory. All that it reads comes through
        # this method; a test holds that.
        data = super()._sock_recv(bufsize)
        begun = self._incoming.take(data)
        self._unanswered = self._unanswered + begun if self.want_write() else 0
        if self._unanswered > _MAX_UNANSWERED:
            raise PacketRefusedError("the broker sends on and on, and reads no answers")
        return data
