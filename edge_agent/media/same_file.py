"""Whether a name leads to another file than before, where the number of the inode alone does not say.

A number is used again once its file is gone, on ext4 for the next file in the folder. What tells is when
the file there was made: no file is made after its own last change.
"""

from __future__ import annotations

import ctypes
import os
import struct

from edge_agent.core.recording import Identity
from edge_agent.media import answers, beneath
from edge_agent.media.lease import keeps_identity

_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_MASK = struct.Struct("=I")
_BORN = struct.Struct("=qI")
_BORN_AT = 80
"""Where `struct statx` (statx(2)) has the time of birth: seconds, nanoseconds."""

_statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
"""In glibc from 2.28 on, in musl from 1.2.5 on."""


def is_another_file(path: bytes, before: Identity, now: Identity) -> bool:
    """Return whether the file at *path*, which is *now*, is another one than it was *before*.

    Any doubt is False: FAT and FUSE number files anew as they like, and not every file system knows
    when a file was made.
    """
    try:
        return answers.touch(path, lambda: _is_another(path, before, now))
    except OSError:
        return False


def is_surely_same_file(path: bytes, before: Identity, now: Identity) -> bool:
    """Return whether the file at *path*, which is *now*, is the one that it was *before*, elsewhere perhaps.

    Any doubt is False: the number may have been used again, or another card has a file of that number.
    """
    may_have_grown = now.length >= before.length and now.mtime_ns >= before.mtime_ns
    if (before.device, before.inode) != (now.device, now.inode) or not may_have_grown:
        return False
    try:
        born_ns = answers.touch(path, lambda: _kept_since_ns(path, now))
    except OSError:
        return False
    return born_ns is not None and born_ns <= before.ctime_ns


def _kept_since_ns(path: bytes, now: Identity) -> int | None:
    """Return since when the file at *path* has its number; None: nobody knows, or it is not *now* any more."""
    fd = beneath.open_file(path)
    try:
        is_it = os.fstat(fd).st_ino == now.inode and keeps_identity(fd)
        return _born_ns(fd) if is_it else None
    finally:
        os.close(fd)


def keeps_numbers(path: bytes) -> bool:
    """Return whether a file keeps the number of its inode where *path* lies, whatever is there this instant."""
    folder = path.rpartition(b"/")[0]
    try:
        return answers.touch(folder, lambda: _keeps_numbers(folder))
    except OSError:
        return False


def _keeps_numbers(folder: bytes) -> bool:
    with beneath.folder(folder) as fd:
        return keeps_identity(fd)


def _is_another(path: bytes, before: Identity, now: Identity) -> bool:
    fd = beneath.open_file(path)
    try:
        if os.fstat(fd).st_ino != now.inode:
            return False  # replaced this instant: the next look tells
        if before.inode != now.inode:
            return keeps_identity(fd)
        born_ns = _born_ns(fd)
        # Made after its own last change: the clock was set back, and its times say nothing.
        return born_ns is not None and before.ctime_ns < born_ns <= now.ctime_ns
    finally:
        os.close(fd)


def _born_ns(fd: int) -> int | None:
    """Return when the file behind *fd* was made; None: nobody knows."""
    found = ctypes.create_string_buffer(_STATX_BYTES)
    if _statx is None or _statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, found) != 0:
        return None
    (mask,) = _MASK.unpack_from(found)
    if not mask & _STATX_BTIME:
        return None
    seconds, nanoseconds = _BORN.unpack_from(found, _BORN_AT)
    return int(seconds * 10**9 + nanoseconds)
