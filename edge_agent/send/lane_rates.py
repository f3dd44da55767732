"""How fast each lane is: what the size of its next request, and the time that is left, follow from."""

from __future__ import annotations

from collections.abc import Iterable

from edge_agent.core.plan import RequestSizing
from edge_agent.core.progress import Rate
from edge_agent.net.way import Way


class LaneRates:
    """What is known of the lanes' rates; touched with the lanes' lock held, read while bodies go out."""

    def __init__(self, way: Way | None = None) -> None:
        self.way = Way() if way is None else way
        """What was learned of the way to the server."""
        self._rates: dict[int, Rate] = {}
        self.window_rates: dict[int, float] = {}
        """What lanes can move per second by their windows, where that is known."""
        self.rtt_s = 0.0
        """The shortest that was seen; 0: not known."""
        self.sizing = RequestSizing()
        self.most = 1
        """Lanes that there may be."""

    def of(self, lane: int) -> Rate:
        """Return the rate of *lane*'s acknowledged bytes, to be added to."""
        return self._rates.setdefault(lane, Rate())

    def expected(self, lane: int) -> float | None:
        """Return what *lane* moves per second; before its first answer, the mean of the others."""
        own = self._lately(lane)
        if own is not None:
            return own
        known = [rate for one in self._rates if (rate := self._lately(one)) is not None]
        return sum(known) / len(known) if known else None

    def weight(self, lane: int, sending: Iterable[int]) -> float:
        """Return how fast *lane* is, compared with the mean of those that are *sending*."""
        own = self._lately(lane)
        rates = [rate for one in {lane, *sending} if (rate := self._lately(one)) is not None]
        if own is None or not any(rates):
            return 1.0
        return own * len(rates) / sum(rates)

    def total(self, sending: Iterable[int]) -> float | None:
        """Return what the lanes that are *sending* moved per second; None: not known of any."""
        known = [
            rate
            for lane in sending
            if lane in self._rates and (rate := self._rates[lane].bytes_per_s) is not None
        ]
        return sum(known) if known else None

    def _lately(self, lane: int) -> float | None:
        """Return what *lane* moved lately, or can move now if that is less."""
        measured = self._rates[lane].bytes_per_s if lane in self._rates else None
        if measured is None:
            return None
        return min(measured, self.window_rates.get(lane, measured))
