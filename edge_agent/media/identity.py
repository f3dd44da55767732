"""What tells one content of a file from another, as the kernel says it."""

from __future__ import annotations

import os

from edge_agent.core.recording import Identity
from edge_agent.media import beneath

_INT64 = 2**63


def identity_of(found: os.stat_result) -> Identity:
    """Return what `fstat` says of a file's content, in numbers that the store can hold.

    A camera's clock may say the year 2300, whose nanoseconds no signed 64-bit number has.
    """
    return Identity(
        device=_in_64_bits(found.st_dev),
        inode=found.st_ino,
        length=found.st_size,
        mtime_ns=_in_64_bits(found.st_mtime_ns),
        ctime_ns=_in_64_bits(found.st_ctime_ns),
    )


def _in_64_bits(number: int) -> int:
    return max(-_INT64, min(_INT64 - 1, number))


def identity_at(path: bytes) -> Identity | None:
    """Return the identity of what *path* names, no link followed; None: it cannot be told."""
    try:
        return identity_of(beneath.status(path))
    except OSError:
        return None
