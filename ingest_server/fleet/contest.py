"""Whether several agents report as one device: their runs take turns, which those of one agent never do.

An agent that starts again has a new run, and none of its earlier ones comes back. One report that was long on
its way may come after the next run's, so that it takes several returns to be sure.
"""

from __future__ import annotations

from dataclasses import dataclass

RETURNS = 3
"""So often a run has come back before it is told."""
LASTS_S = 600.0
"""It is told for so long after a run came back last."""
REMEMBERED = 64
"""Runs: a card is copied to as many devices as there are, and all of them take turns."""


@dataclass(slots=True)
class Contest:
    """What is known of it for one device, since this server started."""

    runs: tuple[str, ...] = ()
    """The newest, the last one last; of other servers, too."""
    returns: int = 0
    last_s: float = 0.0
    """When one came back last."""

    def is_on(self, now_s: float) -> bool:
        return self.returns >= RETURNS and now_s < self.last_s + LASTS_S

    def follow(self, last: str, new: str, now_s: float) -> bool:
        """Note that a run took the place of the last one; return whether it is now known that there are several."""
        was_on = self.is_on(now_s)
        self.returns = self.returns + 1 if new in self.runs else 0
        others = tuple(one for one in self.runs if one not in {last, new})
        self.runs, self.last_s = (*others, last, new)[-REMEMBERED:], now_s
        return self.is_on(now_s) and not was_on
