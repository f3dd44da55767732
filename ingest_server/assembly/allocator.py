"""How this process gets and frees memory: from few arenas, and what the start has made is never looked at again."""

from __future__ import annotations

import ctypes
import gc

from ingest_server.base.settings import MIB

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)

LARGE_BYTES = 4 * MIB
"""Above what is read at once, below a part of an object."""
ARENAS = 2
"""One for each of the few threads that are not waiting for Python's lock."""


def give_memory_back() -> None:
    """Let what a request had be the system's again once it is over; call it before there are threads.

    glibc makes up to eight arenas for each processor, of which each keeps the largest block that it ever had: parts of
    8 MiB, from threads that come and go, have a server with nothing to do at twice what it needs. A C library that
    knows nothing of this goes its own way.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt(_MMAP_THRESHOLD, LARGE_BYTES)  # a number that is set no longer grows with what is freed
    mallopt(_TRIM_THRESHOLD, 2 * LARGE_BYTES)
    mallopt(_ARENA_MAX, ARENAS)


def spare_what_is_here() -> None:
    """Keep the collector of cycles from what exists by now; call it once all has started.

    A full collection looks at some 200,000 objects that the start has made, which takes 50 ms, and all threads wait
    for it. An answer of many small objects has one follow after the other.
    """
    gc.collect()
    gc.freeze()
