"""Whether connections end, or stand still, once they have carried so much: what some firewalls and proxies do.

Seen from here: a body of which the first part arrives and nothing else, while a new connection to the same
server works. A link that broke just then looks the same, so it takes two connections, one after the other,
that have carried about equally much: links do not break by the byte.
"""

from __future__ import annotations

from dataclasses import dataclass

from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
_LEAST_BYTES = 64 * KIB
"""A connection that carries less is lost for another reason."""
_NEAR = 8
"""Two that differ by less than an eighth have carried equally much: what is counted on the way are packets,
with heads and TLS."""
_BROKEN_KEPT = 16


@dataclass(frozen=True, slots=True)
class Broken:
    """A body that broke off."""

    upload_id: str
    where: ByteRange
    carried: int
    """Bytes of bodies that had arrived over the same connection before."""
    began_s: float
    broke_s: float


class ShortConnections:
    """Counts what connections have carried when they broke."""

    def __init__(self) -> None:
        self._broken: list[Broken] = []
        """Those of which it is not known how much arrived."""
        self._carried = 0
        self._last_s = float("-inf")

    def broke(self, body: Broken) -> None:
        """Take in that *body* broke off; what the server says next of its upload tells how much arrived."""
        self._broken = [*self._broken[1 - _BROKEN_KEPT :], body]

    def arrived(self, upload_id: str, received: RangeSet) -> int | None:
        """Take in what the server has of an upload.

        Returns:
            The most bytes that a connection should carry; None: nothing follows from it.
        """
        settled = [one for one in self._broken if one.upload_id == upload_id]
        self._broken = [one for one in self._broken if one.upload_id != upload_id]
        found = [self._judge(one, received.within(one.where).total) for one in settled]
        return min((one for one in found if one is not None), default=None)

    def carried(self, count: int) -> None:
        """Take in that a connection has carried *count* bytes of bodies, and works."""
        if self._carried and count > self._carried + self._carried // _NEAR:
            self._carried = 0

    def _judge(self, body: Broken, arrived: int) -> int | None:
        # Of what arrived whole the answer alone was lost; of nothing perhaps no connection was made.
        if arrived in {0, body.where.length} or body.began_s < self._last_s:
            return None  # and one outage breaks the bodies of all lanes
        carried, before = body.carried + arrived, self._carried
        if carried < _LEAST_BYTES:
            return None
        self._carried, self._last_s = carried, body.broke_s
        if not before or abs(carried - before) * _NEAR > before:
            return None
        least = min(carried, before)
        return max(_LEAST_BYTES, (least - least // _NEAR) // _LEAST_BYTES * _LEAST_BYTES)
