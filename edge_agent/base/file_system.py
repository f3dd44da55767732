"""Which kind of file system a descriptor is on, as the kernel numbers them (``f_type`` of statfs(2))."""

from __future__ import annotations

import ctypes

BTRFS = 0x9123683E
BCACHEFS = 0xCA451A4E

# glibc's plain one fails on large disks where a long has 32 bits; musl has the plain one only.
_LIBC = ctypes.CDLL(None, use_errno=True)
_fstatfs = getattr(_LIBC, "fstatfs64", None) or _LIBC.fstatfs


def kind_of(fd: int) -> int:
    """Return ``f_type`` of the file system of *fd*; 0: it cannot be told.

    From the descriptor: a path may lead elsewhere by now, a mount may lie on another, and the device
    number of a btrfs subvolume or an overlay stands in no list of mounts.
    """
    # struct statfs is at most 120 bytes, its first field `f_type`, a long on all but s390.
    buffer = (ctypes.c_long * 64)()
    if _fstatfs(fd, ctypes.byref(buffer)) != 0:
        return 0
    return buffer[0] & 0xFFFFFFFF
