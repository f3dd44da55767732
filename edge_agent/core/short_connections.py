"""Whether connections end, or stand still, once they have carried so much: what some firewalls and proxies do.

Seen from here: a body of which the first part arrives and nothing else, while a new connection to the same
server works. A link that broke just then looks the same, so it takes several connections, one after the other,
that have carried equally much: links do not break by the byte. Of those of a link that breaks anywhere one in
twenty agrees with the one before, and one in many thousands with the four before.
"""

from __future__ import annotations

from dataclasses import dataclass

from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
_PIECE_BYTES = 64 * KIB
"""Of the last piece that a server reads it keeps nothing, so that what arrived is known to no less."""
_LEAST_BYTES = 8 * _PIECE_BYTES
"""Of connections that carry less nobody could say whether they agree."""
_NEAR = 64
"""Those that differ by no more than a piece and that part have carried equally much: what is counted on the way
are packets, with heads and TLS."""
AGREE = 5
"""Connections in a row."""
_SPARED = 8
"""That part of it is left free: for the same heads."""
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
    """Counts what connections have carried when they broke.

    Args:
        agree: so many in a row; fewer where somebody looks at it, and it is not remembered.
    """

    def __init__(self, agree: int = AGREE) -> None:
        self._agree = agree
        self._broken: list[Broken] = []
        """Those of which it is not known how much arrived."""
        self._agreeing: list[int] = []
        """Bytes that the last ones in a row have carried."""
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
        if self._agreeing and count > self._agreeing[0] and not self._agrees(count):
            self._agreeing = []

    def _judge(self, body: Broken, arrived: int) -> int | None:
        # Of what arrived whole the answer alone was lost; of nothing perhaps no connection was made.
        if arrived in {0, body.where.length} or body.began_s < self._last_s:
            return None  # and one outage breaks the bodies of all lanes
        carried = body.carried + arrived
        self._last_s = body.broke_s
        if carried < _LEAST_BYTES:
            self._agreeing = []
            return None
        if self._agreeing and not self._agrees(carried):
            self._agreeing = []
        self._agreeing.append(carried)
        if len(self._agreeing) < self._agree:
            return None
        least, self._agreeing = min(self._agreeing), []
        return (least - least // _SPARED) // _PIECE_BYTES * _PIECE_BYTES

    def _agrees(self, carried: int) -> bool:
        first = self._agreeing[0]
        return abs(carried - first) <= _PIECE_BYTES + first // _NEAR
