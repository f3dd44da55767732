"""Whether full packets vanish on the way while small ones pass: an MTU that nobody tells.

Seen from here: a request of which nothing but the head is acknowledged, sent again and again, while a new
connection to the same server works at once. A link that broke just then looks the same, so it takes two
such requests in a row.
"""

from __future__ import annotations

_HEAD_BYTES = 4096
"""What may be acknowledged of a connection on which no full packet arrives: a handshake, a request's head."""
_TIMEOUTS = 2
_STRIKES = 2


class FullPackets:
    """Counts requests that stood still from their first full packet on."""

    def __init__(self) -> None:
        self._strikes = 0
        self._last_s = float("-inf")

    def stood_still(self, began_s: float, now_s: float, *, gained: int, timeouts: int) -> bool:
        """Take in a request that is given up although the server answers.

        Args:
            began_s: when the request began.
            now_s: monotonic.
            gained: bytes that were acknowledged since.
            timeouts: how often in a row the kernel has sent its first bytes again.

        Returns:
            Whether full packets are lost.
        """
        if gained >= _HEAD_BYTES:
            self._strikes = 0
            return False
        if (
            timeouts < _TIMEOUTS or began_s < self._last_s
        ):  # one outage breaks the requests of all lanes
            return False
        self._strikes += 1
        self._last_s = now_s
        if self._strikes < _STRIKES:
            return False
        self._strikes = 0
        return True

    def moved(self, gained: int) -> None:
        """Take in that so many bytes of a request were acknowledged."""
        if gained >= _HEAD_BYTES:
            self._strikes = 0
