"""How long recorders pause in the middle of a file: learned where a file grew after it seemed finished.

A logger that opens, appends and closes every few seconds has its file settled in each pause. What has
once grown so, and what is named like it, is given longer, so that it is sent when it is finished.
"""

from __future__ import annotations

from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity
from edge_agent.core.series import series_of
from edge_agent.store.notes import Notes

_KEY = "pauses"
_SERIES = 200
LONGEST_S = 600.0
"""After a longer pause it is a file that was taken up again, not one in the middle of its recording."""


class Pauses:
    """For the watcher's thread.

    Raises:
        StoreError: they cannot be read, or one not be written down.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._known: dict[str, float] | None = None
        """Series -> its longest pause in seconds; what was learned last is last."""

    def of(self, path: bytes) -> float:
        """Return the longest pause of the files named like *path*, in seconds; 0: none was seen."""
        known = self._all()
        return known.get(printable(series_of(path)), 0.0) if known else 0.0

    def learn(self, path: bytes, before: Identity, now: Identity) -> None:
        """Take in that the file, finished as *before*, is *now* another: did it grow after a pause?"""
        pause_s = (now.mtime_ns - before.mtime_ns) / 1e9
        has_grown = before.inode == now.inode and before.length < now.length
        if not has_grown or not self.of(path) < pause_s <= LONGEST_S:
            return
        series, known = printable(series_of(path)), self._all()
        known.pop(series, None)
        known[series] = round(pause_s, 1)
        for oldest in list(known)[: max(0, len(known) - _SERIES)]:
            del known[oldest]
        self._notes.put(_KEY, known)

    def _all(self) -> dict[str, float]:
        if self._known is None:
            self._known = dict(self._notes.get(_KEY) or {})
        return self._known
