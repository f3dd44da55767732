"""The memory, opened by whoever writes to it where nobody else does; what is gone of it is told.

A damaged database is moved aside and made anew; one that is empty or missing looks like a first start. What
an earlier run has left beside it says that it is none.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.store import reserve
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger()


def open_store(
    path: Path, *, clock: Clock, boot_id: str, room: reserve.Reserve | None = None
) -> Store:
    """Open or make the database at *path*; its folder must exist.

    Args:
        room: is taken before, and given up for it where its disk is full.

    Raises:
        StoreError: as `Store.open`.
    """
    how = _lost(path)
    if room is not None:
        room.take()
    store = Store.open(path, clock=clock, boot_id=boot_id, reserve=room)
    how = how if store.moved_aside is None else "was damaged"
    if how is not None:
        _tell_of_loss(store, how)
    return store


def _lost(path: Path) -> str | None:
    """Return how the database at *path* was lost, before it is made anew; None: it is there, or never was."""
    try:
        length = path.stat().st_size
    except FileNotFoundError:
        has_run = (path.parent / reserve.NAME).exists() or any(path.parent.glob(f"{path.name}.v*"))
        return "is gone" if has_run else None
    except OSError:
        return None  # opening it will tell
    return "was emptied" if length == 0 else None


def _tell_of_loss(store: Store, how: str) -> None:
    """Say that what was remembered is gone, with what went with it."""
    aside = store.moved_aside
    log.error(
        "store.lost",
        detail=f"the state database {how}: events that no broker had yet, the counters, and what people had"
        " ordered (a pause, a limit, a priority) went with it",
        moved_to=None if aside is None else str(aside),
        action="none: it is made anew from the folder and the server; no recording is lost",
    )
    told = {"detail": f"agent.db {how}", "moved_to": None if aside is None else aside.name}
    try:
        store.outbox.tell(NewEvent("agent.state_lost", told, is_low=True))
    except StoreError as error:
        log.warning("event.lost", type="agent.state_lost", error=str(error))
