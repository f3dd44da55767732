"""Touching recordings such that a file system that does not answer holds up nobody else.

Everything in this room that touches a path goes through here, or runs in what does. What falls silent as
a whole is a mount; of a path that may lead over links, nobody knows where it ends before that has answered.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from edge_agent.base.clock import SystemClock
from edge_agent.base.patience import SHARED, Patience, SilentError
from edge_agent.media.mounts import mount_of, read_mountinfo

T = TypeVar("T")

_CLOCK = SystemClock()
_FRESH_S = 1.0
_NAMED = b"named "
_NAMED_AT_ONCE = 8
"""Folders named by people that may hang at a time: each keeps a thread."""

_table: tuple[float, bytes] = (float("-inf"), b"")


def place_of(path: bytes) -> bytes:
    """Return what falls silent together with the file at *path*, no component of which is a link."""
    global _table  # noqa: PLW0603 - one for the program, as the mounts are
    read_s, mountinfo = _table
    now_s = _CLOCK.now_s()
    if now_s - read_s > _FRESH_S:
        mountinfo = _mountinfo()
        _table = now_s, mountinfo
    return mount_of(path, mountinfo)


def _mountinfo() -> bytes:
    try:
        return read_mountinfo()
    except OSError:
        return b""  # no /proc: all is one place


def touch(
    path: bytes,
    work: Callable[[], T],
    *,
    undo: Callable[[T], object] | None = None,
    place: bytes | None = None,
) -> T:
    """Do *work*, which touches *path* or what is open there, and return what it does.

    Args:
        path: no component of it is a link.
        work: is not called back when nobody waits any more, so it changes nothing that others do.
        undo: takes what it returns then.
        place: of *path*, where that is known.

    Raises:
        SilentError: its file system does not answer.
        OSError: as *work* does.
    """
    return SHARED.call(
        place or place_of(path), work, undo=undo, now_at=lambda: mount_of(path, _mountinfo())
    )


def touch_configured(path: bytes, work: Callable[[], T]) -> T:
    """Do *work*, which follows links from *path*, a watched folder as it was configured.

    Raises:
        SilentError: some file system on the way does not answer.
        OSError: as *work* does.
    """
    _refuse_silent(path)
    return SHARED.call(b"configured " + path, work)


def look_through(
    root: bytes, work: Callable[[], T], *, undo: Callable[[T], object] | None = None
) -> T:
    """Do *work*, which looks through the folder *root*, a real path, and what is mounted below it.

    Args:
        root: the folder.
        work: as for `touch`.
        undo: takes what it returns once nobody waits for it any more.

    Raises:
        SilentError: something there does not answer.
        OSError: as *work* does.
    """
    return SHARED.call(b"below " + root, work, undo=undo)


def real_path_of(
    path: bytes,
    *,
    hands: Patience = SHARED,
    look: Callable[[bytes], bytes] = os.path.realpath,
) -> bytes:
    """Return where *path*, which a person named, really leads.

    Args:
        hands: do the looking.
        look: asks the system.

    Raises:
        SilentError: some file system on the way does not answer.
    """
    _refuse_silent(path)
    if hands.silent_among(_NAMED) >= _NAMED_AT_ONCE:
        raise SilentError
    # By the folder: of thousands of files in one that is silent, the first is waited for.
    return hands.call(_NAMED + path.rpartition(b"/")[0], lambda: look(path))


def _refuse_silent(path: bytes) -> None:
    if SHARED.is_silent(place_of(path)):
        raise SilentError


def close(place: bytes, fd: int) -> None:
    """Close *fd*, open at *place*, once nothing that was begun with it is under way."""
    SHARED.finish(place, lambda: os.close(fd))
