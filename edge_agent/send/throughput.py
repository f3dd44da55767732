"""What the connections of all lanes move, as the kernel counts it."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from edge_agent.core.lane_count import Sample
from edge_agent.net import tcp_info


class _LaneConnections:
    """The connections of one lane."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[socket.socket, tuple[int, int]] = WeakKeyDictionary()
        """What was counted of each: a lane that sends to a store has two, in turns."""
        self.totals = (0, 0)
        """Acknowledged and resent bytes; of a connection that ended, as they were seen last."""
        self.info: tcp_info.TcpInfo | None = None

    def look(self, live: socket.socket | None) -> None:
        self.info = None if live is None else tcp_info.read(live)
        if live is None or self.info is None:
            return
        before = self._seen.get(live, (0, 0))
        now = self._seen[live] = (self.info.acked_bytes, self.info.resent_bytes)
        self.totals = (
            self.totals[0] + now[0] - before[0],
            self.totals[1] + now[1] - before[1],
        )


class Throughput:
    """Adds up what the lanes' connections do. One thread at a time."""

    def __init__(self) -> None:
        self._lines: dict[int, _LaneConnections] = {}

    def look(self, sockets: Iterable[socket.socket | None], *, sent_bytes: int) -> Sample:
        """Return how it goes now.

        Args:
            sockets: of each lane, always in the same order; None: it has no connection now.
            sent_bytes: by all lanes, ever: what is judged where the kernel tells nothing.
        """
        is_told = False
        for number, live in enumerate(sockets):
            line = self._lines.setdefault(number, _LaneConnections())
            line.look(live)
            is_told = is_told or line.info is not None
        acked, resent = (sum(column) for column in zip(*self._totals(), strict=True))
        if not is_told and not acked:
            return Sample(sent_bytes)
        infos = [line.info for line in self._lines.values() if line.info is not None]
        waiting = [info.rtt_s for info in infos if info.outstanding and info.rtt_s]
        shortest = [info.shortest_rtt_s for info in infos if 0 < info.shortest_rtt_s < _NONE_S]
        return Sample(
            acked,
            resent,
            sum(waiting) / len(waiting) if waiting else None,
            min(shortest) if shortest else None,
        )

    def window_rates(self) -> dict[int, float]:
        """Return what each lane can move per second by its window: now, and not some requests ago."""
        return {
            number: line.info.window_bytes / line.info.rtt_s
            for number, line in self._lines.items()
            if line.info is not None and line.info.rtt_s > 0
        }

    def _totals(self) -> list[tuple[int, int]]:
        return [(0, 0), *(line.totals for line in self._lines.values())]


_NONE_S = 1000.0
"""The kernel says more than that when it has not measured yet."""


def fills_alone(live: socket.socket | None) -> bool:
    """Return whether one connection can fill a link that loses packets: losses do not slow it."""
    return live is not None and tcp_info.congestion_control(live).startswith("bbr")
