"""Whether two agents report as one device: their runs take turns, which those of one agent never do.

An agent that starts again has a new run, and none of its earlier ones comes back. One report that was long on
its way may come after the next run's, so that it takes several returns to be sure.
"""

from __future__ import annotations

from dataclasses import dataclass

RETURNS = 3
"""So often a run has come back before it is told."""
LASTS_S = 600.0
"""It is told for so long after a run came back last."""


@dataclass(slots=True)
class Contest:
    """What is known of it for one device, since this server started."""

    before: str = ""
    """The run that the last one took the place of."""
    returns: int = 0
    last_s: float = 0.0
    """When one came back last."""

    def is_on(self, now_s: float) -> bool:
        return self.returns >= RETURNS and now_s < self.last_s + LASTS_S

    def follow(self, last: str, new: str, now_s: float) -> bool:
        """Note that a run took the place of the last one; return whether it is now known that there are two."""
        was_on = self.is_on(now_s)
        self.returns = self.returns + 1 if new == self.before else 0
        self.before, self.last_s = last, now_s
        return self.is_on(now_s) and not was_on
