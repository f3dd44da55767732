"""A user's own entry in the access control lists of a folder and what is below it.

Written by the kernel's own form (linux/posix_acl_xattr.h), since `setfacl -R` goes by paths: whoever may write
below could swap a folder for a link and have root open another place. Here each thing is opened below
the folder before it, never by a link; so is the folder itself, whose path was resolved before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_agent.media import beneath

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
READ, WRITE, ENTER = 4, 2, 1
_VERSION = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NO_ID = 0xFFFFFFFF
_ENTRY = struct.Struct("<HHI")
_BELOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DEEPEST = 64
"""Of folders within each other: the server takes 32."""
_GONE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENXIO})
"""Taken away, or swapped for something else, under our hands."""


@dataclass(frozen=True, slots=True)
class Entry:
    tag: int
    may: int
    id: int = NO_ID


def with_user(entries: list[Entry], uid: int, may: int) -> list[Entry]:
    """Return the list in which the user may that (and what it could before), and others as much as ever."""
    own = Entry(
        _USER, may | next((e.may for e in entries if (e.tag, e.id) == (_USER, uid)), 0), uid
    )
    others = [e for e in entries if (e.tag, e.id) != (_USER, uid)]
    mask = next((e for e in others if e.tag == MASK), None)
    if mask is None:  # no named entry so far: the group's own was not bounded by anything
        group = next(e for e in others if e.tag == _GROUP_OBJ)
        bound = group.may | own.may
    else:
        # What the mask kept from the others it must go on keeping, now that it is wider.
        others = [_bounded(e, mask.may) for e in others if e.tag != MASK]
        bound = mask.may | own.may
    return sorted([*others, own, Entry(MASK, bound)], key=lambda e: (e.tag, e.id))


def _bounded(entry: Entry, bound: int) -> Entry:
    if entry.tag in {_USER, _GROUP, _GROUP_OBJ}:
        return Entry(entry.tag, entry.may & bound, entry.id)
    return entry


def without_user(entries: list[Entry], uid: int) -> list[Entry]:
    """Return the list without the user; without a mask where nobody is left whom it bounds."""
    left = [e for e in entries if (e.tag, e.id) != (_USER, uid)]
    if any(e.tag in {_USER, _GROUP} for e in left):
        return left
    bound = next((e.may for e in left if e.tag == MASK), 7)
    return [_bounded(e, bound) for e in left if e.tag != MASK]


def read(fd: int, name: str = ACCESS) -> list[Entry]:
    """Return the list of what is open; of one that has none, the mode's three entries; [] of no default.

    Raises:
        OSError: the file system has none (ENOTSUP).
    """
    try:
        raw = os.getxattr(fd, name)
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        if name == DEFAULT:
            return []
        mode = os.fstat(fd).st_mode
        bits = ((_USER_OBJ, mode >> 6), (_GROUP_OBJ, mode >> 3), (_OTHER, mode))
        return [Entry(tag, bit & 7) for tag, bit in bits]
    return [Entry(*row) for row in _ENTRY.iter_unpack(raw[4:])]


def write(fd: int, entries: list[Entry], name: str = ACCESS) -> None:
    """Give what is open that list.

    Raises:
        OSError: it has the one that it had.
    """
    raw = struct.pack("<I", _VERSION) + b"".join(_ENTRY.pack(e.tag, e.may, e.id) for e in entries)
    os.setxattr(fd, name, raw)


def open_folder(folder: bytes, uid: int, may: int) -> None:
    """Let the user do *may* in *folder* and all below it that is not hidden, and in what comes to be there.

    Raises:
        OSError: not everywhere; run it again.
    """

    def grant(fd: int, is_folder: bool) -> None:
        wanted = may | ENTER if is_folder else may & READ
        write(fd, with_user(read(fd), uid, wanted))
        if is_folder:
            write(fd, with_user(read(fd, DEFAULT) or _plain(fd), uid, wanted), DEFAULT)

    _each(folder, grant)


def close_folder(folder: bytes, uid: int) -> None:
    """Take the user's entries from *folder* and all below it.

    Raises:
        OSError: not everywhere; run it again.
    """

    def revoke(fd: int, is_folder: bool) -> None:
        _take(fd, uid, ACCESS)
        if is_folder:
            _take(fd, uid, DEFAULT)

    _each(folder, revoke)


def let_through(folder: bytes, uid: int) -> None:
    """Let the user pass through *folder* to what lies in it.

    Raises:
        OSError: it may not.
    """
    with beneath.folder(folder) as fd:
        write(fd, with_user(read(fd), uid, ENTER))


def bar(folder: bytes, uid: int) -> None:
    """Take the user's entry from *folder* alone.

    Raises:
        OSError: it is still there.
    """
    with beneath.folder(folder) as fd:
        _take(fd, uid, ACCESS)


def _take(fd: int, uid: int, name: str) -> None:
    entries = read(fd, name)
    left = without_user(entries, uid)
    if left == entries:
        return
    if name == DEFAULT and not any(e.tag in {_USER, _GROUP} for e in left) and left == _plain(fd):
        os.removexattr(fd, DEFAULT)
    else:
        write(fd, left, name)


def _plain(fd: int) -> list[Entry]:
    """Return what the mode alone says: a default that says no more was made for our entry."""
    return [e for e in read(fd) if e.tag in {_USER_OBJ, _GROUP_OBJ, _OTHER}]


def _each(folder: bytes, act: Callable[[int, bool], None]) -> None:
    """Call *act* with *folder*, open, and with each folder and file below it."""
    with beneath.folder(folder) as top:
        act(top, True)
        _each_below(top, os.fstat(top), act, depth=0)


def _each_below(
    here: int, top: os.stat_result, act: Callable[[int, bool], None], *, depth: int
) -> None:
    with os.scandir(here) as entries:
        names = [entry.name for entry in entries]
    for name in names:
        if name.startswith("."):  # never sent
            continue
        below = _open_below(here, name, top)
        if below is None:
            continue
        try:
            is_folder = stat.S_ISDIR(os.fstat(below).st_mode)
            with _unless_it_has_none():
                act(below, is_folder)
            if is_folder and depth < _DEEPEST:
                _each_below(below, top, act, depth=depth + 1)
        finally:
            os.close(below)


@contextlib.contextmanager
def _unless_it_has_none() -> Iterator[None]:
    """Pass over what is mounted below from a file system without lists."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise


def _open_below(folder: int, name: str, top: os.stat_result) -> int | None:
    """Open a folder or a file of the recordings' own; None: it is neither, or no more."""
    try:
        if not _is_content(os.stat(name, dir_fd=folder, follow_symlinks=False), top):
            return None
        # NONBLOCK: a pipe that took its place would wait for ever.
        fd = os.open(name, _BELOW, dir_fd=folder)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    if _is_content(os.fstat(fd), top):
        return fd
    os.close(fd)
    return None


def _is_content(found: os.stat_result, top: os.stat_result) -> bool:
    if stat.S_ISREG(found.st_mode):
        # A second name of a file of somebody else's may have been put here to have it opened.
        return found.st_nlink == 1 or found.st_uid == top.st_uid
    return stat.S_ISDIR(found.st_mode)
