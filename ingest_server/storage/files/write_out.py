"""Telling the kernel to begin writing, long before anybody waits for it.

The page cache holds what was written until somebody asks; a disk that has stood still while 8 MB
arrived then makes `fdatasync` wait for all of them. Python has no name for the call that begins
early, so it is taken from the C library.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_SYNC_FILE_RANGE_WRITE = 2


def _found() -> Callable[[int, int, int], None]:
    try:
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
    except (OSError, AttributeError):  # musl before 1.1, or a C library that is none

        def nothing(fd: int, offset: int, length: int) -> None:
            """Leave it all to `fdatasync`."""

        return nothing
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    call.restype = ctypes.c_int

    def begin(fd: int, offset: int, length: int) -> None:
        # What it returns is of no use. This flag alone neither waits for the disk nor takes note of
        # its faults, so that a write which fails is still reported by the fdatasync that follows.
        call(fd, offset, length, _SYNC_FILE_RANGE_WRITE)

    return begin


begin_write_out = _found()
"""Begin to write *length* bytes of *fd* from *offset* to the disk; nothing is durable by it."""
