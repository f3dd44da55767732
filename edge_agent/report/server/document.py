"""One report to the server, made of what has changed since the last one that was answered.

`Draft` gathers the parts and keeps the whole below what the server takes; `KnownParts` remembers what the
server has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edge_agent.base.view import View
from edge_agent.core.recording import Recording
from edge_agent.report.payloads import encode
from edge_agent.report.recording_row import describe
from edge_agent.report.server.port import MAX_REPORT_BYTES

VERSION: Final = 1
MAX_ROWS: Final = 20
"""Of what waits, and of what has failed."""
MAX_EVENTS: Final = 20

_ROOM_BYTES: Final = MAX_REPORT_BYTES - 1024
_ROWS_BYTES: Final = 30 * 1024
"""Of all rows: what else there is to tell has its place, too."""
_MOST_BYTES: Final = {"state": 8 * 1024, "info": 8 * 1024, "reported": 8 * 1024, "files": 32 * 1024}
"""Of a part: the server refuses a report with a longer one."""
MAX_EVENT_BYTES: Final = 8 * 1024
_ROW = (
    "file_id",
    "name",
    "folder",
    "length",
    "acknowledged",
    "state",
    "reason",
    "detail",
    "problem",
    "seen_at",
)
_SHOWN_BY_TIME_ALONE = frozenset({"ts", "seq", "rate_bytes_per_s", "eta_s"})
_STEPS_OF_DISK = 100


class Draft:
    """A report that is being made."""

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._document: dict[str, Any] = {"v": VERSION, **head}
        self._left = _ROOM_BYTES - len(encode(self._document))

    def add(self, key: str, value: object) -> bool:
        """Add a part; return whether there was room for it."""
        needed = len(encode({key: value}))
        if needed > min(self._left, _MOST_BYTES.get(key, _ROOM_BYTES)):
            return False
        self._document[key] = value
        self._left -= needed
        return True

    def add_list(self, key: str, values: Iterable[object]) -> int:
        """Add a list of as many of *values*, in order, as there is room for; return how many."""
        left = self._left - len(encode({key: []}))
        taken: list[object] = []
        for value in values:
            left -= len(encode({"": value}))
            if left < 0:
                break
            taken.append(value)
        if taken:
            self.add(key, taken)
        return len(taken)

    def encoded(self, **last: object) -> bytes:
        return encode(self._document | last)


def file_rows(recordings: Iterable[Recording], view: View) -> list[dict[str, Any]]:
    """Return rows of *recordings*, as many as belong into one report."""
    rows: list[dict[str, Any]] = []
    left = _ROWS_BYTES // 2
    for one in recordings:
        said = describe(one, view)
        row = {key: said[key] for key in _ROW}
        left -= len(encode(row))
        if left < 0 or len(rows) == MAX_ROWS:
            break
        rows.append(row)
    return rows


def fitting(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *state*, without what names files where these are so many that it would be too long."""
    if len(encode(state)) < _MOST_BYTES["state"] - 64:
        return state
    return {
        **state,
        "left_out": None,
        "folders": [],
        "notes": [],
        "problems": state["problems"][:100],
    }


def gist_of_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of *state* makes it another one: not what moves with every look."""
    gist = {key: value for key, value in state.items() if key not in _SHOWN_BY_TIME_ALONE}
    if queue := state.get("queue"):
        gist["queue"] = {key: queue[key] for key in queue if key != "oldest_age_s"}
    if link := state.get("link"):
        gist["link"] = (link.get("iface"), link.get("metered"), link.get("other"))
    if (disk := state.get("disk")) and disk.get("total"):
        gist["disk"] = disk["free"] * _STEPS_OF_DISK // disk["total"]
    gist["folders"] = [
        {key: said for key, said in row.items() if key != "disk"}
        for row in state.get("folders", ())
    ]
    return gist


def gist_of_files(files: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[Any, ...]]:
    """Return what of *files* makes it another list: not how far one of them is."""
    return [
        (kind, row["file_id"], row["length"], row["state"], row["reason"], row["problem"])
        for kind, rows in files.items()
        for row in rows
    ]


@dataclass(slots=True)
class KnownParts:
    """What the server has, as far as it said so: parts by name, each as its gist."""

    _parts: dict[str, tuple[Any, float]] = field(default_factory=dict)

    def is_news(self, part: str, gist: object) -> bool:
        found = self._parts.get(part)
        return found is None or found[0] != gist

    def age_s(self, part: str, now_s: float) -> float:
        found = self._parts.get(part)
        return float("inf") if found is None else now_s - found[1]

    def note(self, parts: Mapping[str, object], now_s: float) -> None:
        for part, gist in parts.items():
            self._parts[part] = (gist, now_s)

    def forget(self, parts: Iterable[str]) -> None:
        """Tell *parts* again, although they have not changed."""
        for part in parts:
            self._parts.pop(part, None)
