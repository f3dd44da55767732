"""How much of a broker's sending is taken: the headers of packets, read before a library collects their bodies.

A header of five bytes may announce 256 MB, and paho collects them; it keeps what is sent with QoS 2
until its sender says more, and answers without end to a broker that reads no answers. MQTT 5 can tell a
broker the largest packet, 3.1.1 cannot, and whoever stands on an unencrypted way need not keep to it.
Nothing that is meant for us is large, so such a session ends at the header. Knows no library.
"""

from __future__ import annotations

from typing import Final

_MAX_UNANSWERED: Final = 2000
"""Packets that come while answers wait to be sent: each answer takes some 600 bytes until then."""

_PUBLISH: Final = 3
_EXACTLY_ONCE: Final = 0b100
"""The bit of a PUBLISH's first byte that only QoS 2 sets (MQTT 5, section 3.3.1)."""


class PacketRefusedError(Exception):
    """The broker sends what we do not take; its text is a reason for a person."""


class Incoming:
    """Reads the headers of packets as their bytes pass by (MQTT 5, section 2.1).

    Args:
        most_bytes: of a packet, after its header.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._is_in_header = False
        self._length = 0
        self._shift = 0
        self._left = 0
        """Bytes to come of the packet at hand."""
        self._unanswered = 0

    def take(self, data: bytes, *, is_behind: bool = False) -> int:
        """Return how many packets begin in *data*.

        Args:
            data: what was read, the next bytes of the session.
            is_behind: answers wait to be sent.

        Raises:
            PacketRefusedError: one of them is none that we take, or the broker reads no answers.
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
        self._unanswered = self._unanswered + begun if is_behind else 0
        if self._unanswered > _MAX_UNANSWERED:
            raise PacketRefusedError("the broker sends on and on, and reads no answers")
        return begun

    def _begin(self, first: int) -> None:
        if first >> 4 == _PUBLISH and first & _EXACTLY_ONCE:
            raise PacketRefusedError("the broker sends with QoS 2, which nobody asked for")
        self._is_in_header, self._length, self._shift = True, 0, 0

    def _take_length(self, byte: int) -> None:
        self._length |= (byte & 127) << self._shift
        self._shift += 7
        if self._length > self._most_bytes:
            raise PacketRefusedError(
                f"the broker sends a packet of {self._length} bytes or more, the limit is"
                f" {self._most_bytes}"
            )
        if byte < 128:
            self._is_in_header, self._left = False, self._length
