"""Whether the memory of an earlier run is gone: a database that was emptied or taken away.

A damaged one is moved aside when it is opened; one that is empty or missing looks like a first start. What
an earlier run has left beside it says that it is none.
"""

from __future__ import annotations

from pathlib import Path

from edge_agent.store import reserve


def lost(path: Path) -> str | None:
    """Return how the database at *path* was lost, before it is made anew; None: it is there, or never was."""
    try:
        length = path.stat().st_size
    except FileNotFoundError:
        has_run = (path.parent / reserve.NAME).exists() or any(path.parent.glob(f"{path.name}.v*"))
        return "is gone" if has_run else None
    except OSError:
        return None  # opening it will tell
    return "was emptied" if length == 0 else None
