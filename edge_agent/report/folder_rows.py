"""Several watched folders in the ``state`` document: a row for each that has a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge_agent.base.view import View, Wait
from edge_agent.core.upload import State
from edge_agent.media.folder import Folder
from edge_agent.store.counts import pending_bytes, pending_files

Counts = Mapping[State, tuple[int, int]]
"""Files and bytes per state."""


def folder_rows(
    folders: Iterable[Folder], view: View, counts: Mapping[str, Counts]
) -> list[dict[str, Any]]:
    """Return a row for each folder that has a name: what waits in it, and what is wrong there."""
    return [_row(one, view, counts.get(one.name, {})) for one in folders if one.name]


def _row(folder: Folder, view: View, counts: Counts) -> dict[str, Any]:
    away = view.away(folder.name)
    seen = view.folders.get(folder.name)
    return {
        "name": folder.name,
        "blocked_by": None if away is None else str(away.reason),
        "blocked_detail": None if away is None else away.detail,
        "queue": {
            "files": pending_files(counts),
            "bytes": pending_bytes(counts),
            "failed": counts.get(State.FAILED, (0, 0))[0],
        },
        "disk": disk_of([folder]),
        "problems": [] if seen is None else sorted(seen.problems),
    }


def disk_of(folders: Iterable[Folder]) -> dict[str, int | None]:
    """Return what is free for the fullest of *folders*; null: it cannot be told of any."""
    found = [space for one in folders if (space := one.space()) is not None]
    if not found:
        return {"free": None, "total": None}
    fullest = min(found, key=lambda space: space.free / max(1, space.total))
    return {"free": fullest.free, "total": fullest.total}


def there(view: View, counts: Mapping[str, Counts]) -> dict[State, tuple[int, int]]:
    """Return the counts of the folders in which recordings can be found, together."""
    return together(one for watch, one in counts.items() if view.away(watch) is None)


def waiting_for_folder(view: View, counts: Mapping[str, Counts]) -> Wait | None:
    """Return why a folder is away in which something waits; None: there is none."""
    waits = (view.away(watch) for watch, one in counts.items() if pending_files(one))
    return next((one for one in waits if one is not None), None)


def together(counts: Iterable[Counts]) -> dict[State, tuple[int, int]]:
    """Return the counts of several folders as if they were one."""
    total: dict[State, tuple[int, int]] = {}
    for one in counts:
        for state, (files, length) in one.items():
            before = total.get(state, (0, 0))
            total[state] = (before[0] + files, before[1] + length)
    return total
