"""How long recorders pause in the middle of a file: learned where a file grew after it seemed finished.

A logger that opens, appends and closes every few seconds has its file settled in each pause. What has
once grown so, and what is named like it, is given longer, so that it is sent when it is finished. Only a
pause that this run saw from its beginning counts, not one between two flights; what does not pause any
more is waited for half as long with each file.
"""

from __future__ import annotations

from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity
from edge_agent.core.series import series_of
from edge_agent.media.same_file import is_another_file
from edge_agent.store.notes import Notes

_KEY = "pauses"
_SERIES = 200
_FINISHED = 1000
"""Files remembered that finished in this run."""
_SHORTEST_S = 0.5
LONGEST_S = 120.0
"""After a longer pause it is a file that was taken up again, not one in the middle of its recording."""


class Pauses:
    """For the thread of one folder's watcher.

    Raises:
        StoreError: they cannot be read, or one not be written down.
    """

    def __init__(self, notes: Notes, folder: str = "") -> None:
        self._notes = notes
        self._key = f"{_KEY}.{folder}" if folder else _KEY
        self._known: dict[str, float] | None = None
        """Series -> its longest pause in seconds; what was learned last is last."""
        self._seen: dict[str, float] = {}
        """Of the known series: the longest pause since one of its files finished last."""
        self._finished: dict[bytes, float] = {}
        """Files that seemed finished in this run -> the monotonic time since when they were quiet."""

    def of(self, path: bytes) -> float:
        """Return the longest pause of the files named like *path*, in seconds; 0: none was seen."""
        known = self._all()
        return min(known.get(_series(path), 0.0), LONGEST_S) if known else 0.0

    def learn(self, path: bytes, before: Identity, now: Identity, now_s: float) -> None:
        """Take in that the file, finished as *before*, is *now* another: did it grow after a pause?"""
        since_s = self._finished.pop(path, None)
        has_grown = before.inode == now.inode and before.length < now.length
        if since_s is None or not has_grown or is_another_file(path, before, now):
            return
        # The clock of the times of files may be set meanwhile, and ours tells when it was noticed.
        pause_s = min((now.mtime_ns - before.mtime_ns) / 1e9, now_s - since_s)
        if not 0 < pause_s <= LONGEST_S:
            return
        series = _series(path)
        if pause_s > self.of(path):
            self._put(series, pause_s)
        self._note(series, pause_s)

    def grew(self, path: bytes, pause_s: float) -> None:
        """Take in that a file which is watched grew after a pause."""
        series = _series(path)
        if series in self._all():
            self._note(series, min(pause_s, LONGEST_S))

    def finished(self, path: bytes, since_s: float) -> None:
        """Take in that the file seems finished, quiet since the monotonic time *since_s*."""
        self._finished.pop(path, None)
        self._finished[path] = since_s
        while len(self._finished) > _FINISHED:
            del self._finished[next(iter(self._finished))]
        before_s, series = self.of(path), _series(path)
        if before_s:
            seen_s = self._seen.pop(series, 0.0)
            if seen_s < before_s:
                self._put(series, max(seen_s, before_s / 2))

    def _note(self, series: str, pause_s: float) -> None:
        self._seen[series] = max(pause_s, self._seen.get(series, 0.0))

    def _put(self, series: str, pause_s: float) -> None:
        known = self._all()
        known.pop(series, None)
        if pause_s >= _SHORTEST_S:
            known[series] = round(pause_s, 1)
        for oldest in list(known)[: max(0, len(known) - _SERIES)]:
            del known[oldest]
        self._seen = {one: seen_s for one, seen_s in self._seen.items() if one in known}
        self._notes.put(self._key, known)

    def _all(self) -> dict[str, float]:
        if self._known is None:
            self._known = dict(self._notes.get(self._key) or self._notes.get(_KEY) or {})
        return self._known


def _series(path: bytes) -> str:
    return printable(series_of(path))
