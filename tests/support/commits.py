"""How often a SQLite database in WAL mode has committed, as its log on disk tells.

Each commit that changed something ends in one frame which holds the database's new size (SQLite's file
format, section 4.1). A transaction that changed nothing leaves no frame, and costs no flush.
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">IIIIIIII")
_FRAME = struct.Struct(">IIIIII")


def commits_in_log(database: Path) -> int:
    """Return the commits in the log of *database* since it was last begun anew (1000 pages)."""
    log = database.with_name(f"{database.name}-wal").read_bytes()
    if not log:
        return 0
    _, _, page_bytes, _, *salts, _, _ = _HEADER.unpack_from(log)
    found = 0
    for at in range(_HEADER.size, len(log) - _FRAME.size + 1, _FRAME.size + page_bytes):
        _, size, *frame_salts, _, _ = _FRAME.unpack_from(log, at)
        if frame_salts != salts:
            break  # left over from before it was begun anew
        found += size > 0
    return found
