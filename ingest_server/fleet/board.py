"""The rows of all devices as they go out, and what has changed since a viewer last looked.

Each row is encoded once, when it changes; an answer to a viewer is put together of those bytes. So what a
viewer costs depends on what changed, not on how many devices there are, and no database is asked.

A cursor says for each server that the viewer had an answer of how far that answer went, the last one first.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_GONE = 1000
"""Devices that were forgotten and are still told as gone; a viewer older than that begins anew."""
NO_NOTICES: Mapping[str, Any] = {
    "devices": 0, "undelivered": [], "nobody": 0, "waiting": 0, "unknown": 0, "given_up": []
}  # fmt: skip
"""Until they were read."""
MOST_STUCK = 50
"""Told in one answer: the page links to the list for the rest."""


MOST_RUNS = 16
"""Servers whose answers one viewer may have in turns, behind a balancer, without beginning anew."""
TOLD_AGAIN_S = 10.0
"""How far one server may be behind another in what it has heard."""


@dataclass(slots=True)
class _Line:
    version: int
    row: bytes
    presence: str
    pending_files: int
    pending_bytes: int
    failed: int
    oldest_s: float | None
    """By the clock that never goes back: since when the oldest waits."""
    stuck: Mapping[str, Any] | None
    changed_s: float


class Board:
    """Safe to use from several threads.

    Args:
        run: tells this run of the server from any other: a cursor of another begins anew.
    """

    def __init__(self, run: str, now_s: Callable[[], float]) -> None:
        self._run = run
        self._now_s = now_s
        self._lock = threading.Lock()
        self._version = 0
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        """Those that changed last are last."""
        self._gone: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._gone_before = 0
        self._notices: Mapping[str, Any] = NO_NOTICES

    @property
    def cursor(self) -> str:
        return f"{self._run}-{self._version}"

    def put(
        self,
        row: Mapping[str, Any],
        *,
        oldest_s: float | None,
        stuck: Mapping[str, Any] | None,
    ) -> None:
        """Show *row* in place of its device's."""
        encoded = json.dumps(row, separators=(",", ":")).encode("ascii")
        device = row["device"]
        with self._lock:
            self._version += 1
            self._lines[device] = _Line(
                self._version,
                encoded,
                row["presence"],
                row["pending_files"],
                row["pending_bytes"],
                row["failed"],
                oldest_s,
                stuck,
                self._now_s(),
            )
            self._lines.move_to_end(device)
            self._gone.pop(device, None)

    def drop(self, device: str) -> None:
        """Show a device no more."""
        with self._lock:
            if self._lines.pop(device, None) is None:
                return
            self._version += 1
            self._gone[device] = self._version, self._now_s()
            while len(self._gone) > MOST_GONE:
                self._gone_before = self._gone.popitem(last=False)[1][0]

    def show_notices(self, notices: Mapping[str, Any]) -> None:
        """Show what people were told of all devices."""
        with self._lock:
            if notices != self._notices:
                self._notices = notices
                self._version += 1

    def row(self, device: str) -> bytes | None:
        line = self._lines.get(device)
        return None if line is None else line.row

    def view(
        self, since: str | None, *, now: str, now_s: float, free_bytes: Callable[[], int | None]
    ) -> bytes:
        """Return what has changed since the cursor *since*, or everything, as JSON."""
        with self._lock:
            cursor = _read_cursor(since)
            seen = self._seen(cursor)
            # What another server has told since may have been older than what this one told before.
            is_elsewhere = next(iter(cursor), self._run) != self._run
            again_s = self._now_s() - (TOLD_AGAIN_S if is_elsewhere else 0.0)
            rows, gone = [], []
            for line in reversed(self._lines.values()):
                if seen is not None and line.version <= seen and line.changed_s <= again_s:
                    break
                rows.append(line.row)
            if seen is not None:
                gone = [
                    device
                    for device, (version, gone_s) in self._gone.items()
                    if version > seen or gone_s > again_s
                ]
            head = {
                "v": 1,
                "cursor": _cursor({**cursor, self._run: self._version}, self._run),
                "now": now,
                "is_whole": seen is None,
                "tiles": self._tiles(now_s, free_bytes()),
                "gone": gone,
                "notices": self._notices,
                **self._stuck(),
            }
        start = json.dumps(head, separators=(",", ":")).encode("ascii")
        return b"".join((start[:-1], b',"devices":[', b",".join(rows), b"]}"))

    def counts(self, now_s: float) -> tuple[dict[str, int | None], int]:
        """Return the counts over all devices, and how many are stuck."""
        with self._lock:
            stuck = sum(line.stuck is not None for line in self._lines.values())
            return self._tiles(now_s, None), stuck

    def _seen(self, cursor: Mapping[str, int]) -> int | None:
        seen = cursor.get(self._run)
        return seen if seen is not None and self._gone_before <= seen <= self._version else None

    def _tiles(self, now_s: float, free_bytes: int | None) -> dict[str, int | None]:
        lines = self._lines.values()
        count = {"online": 0, "late": 0, "offline": 0, "never": 0}
        files = length = failed = 0
        oldest: float | None = None
        for line in lines:
            count[line.presence] += 1
            files += line.pending_files
            length += line.pending_bytes
            failed += line.failed
            if line.oldest_s is not None and (oldest is None or line.oldest_s < oldest):
                oldest = line.oldest_s
        return {
            "devices": len(lines),
            "online": count["online"],
            "late": count["late"],
            "offline": count["offline"],
            "pending_files": files,
            "pending_bytes": length,
            "failed": failed,
            "oldest_age_s": None if oldest is None else max(0, int(now_s - oldest)),
            "free_bytes": free_bytes,
        }

    def _stuck(self) -> dict[str, Any]:
        found = [line.stuck for line in self._lines.values() if line.stuck is not None]
        return {"stuck": found[:MOST_STUCK], "stuck_in_all": len(found)}


def _read_cursor(since: str | None) -> dict[str, int]:
    found = {}
    for one in (since or "").split(".", MOST_RUNS)[:MOST_RUNS]:
        run, _, version = one.rpartition("-")
        if run and version.isascii() and version.isdigit():
            found[run] = int(version[:20])
    return found


def _cursor(seen: Mapping[str, int], last: str) -> str:
    others = [run for run in seen if run != last]
    return ".".join(f"{run}-{seen[run]}" for run in [last, *others][:MOST_RUNS])
