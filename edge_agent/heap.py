"""The C library's heap: giving back what is free in it."""

from __future__ import annotations

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim() -> None:
    """Return free pages of the heap to the system, which glibc keeps otherwise; does nothing elsewhere.

    Some 50 µs. What reading the settings and a scan of a full card took is free soon after.
    """
    if _trim is not None:
        _trim(ctypes.c_size_t(0))
