"""Opening what a path names, and nothing that a link leads to.

A path that is remembered was resolved once: the watched folder where it was opened as configured (it
may be a link), a file that a person named where it was named. From then on no component of it may be
a link. Whoever may write in a folder below could otherwise swap a folder for a link, and make the
agent, which may have more rights, send and delete a file elsewhere.

Nothing is kept open between two calls: a card can be ejected, and what is mounted over a folder is seen.

`openat2` with RESOLVE_NO_SYMLINKS (Linux 5.6) does it in one call; where the kernel lacks it, or a
sandbox forbids it, each component is opened below the one before.

A file system that does not answer costs some seconds, and then a `SilentError` (`answers`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from edge_agent.base.patience import SHARED, Patience, SilentError
from edge_agent.media import answers

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Nothing of that name is there: a component is missing, is no folder, or is a link."""

_OPENAT2 = 437
"""The same number on every architecture that Python runs on, but Alpha."""
_AT_FDCWD = -100
_RESOLVE_NO_SYMLINKS = 0x04
_NOT_OFFERED = frozenset({errno.ENOSYS, errno.EPERM})
"""EPERM: filters for system calls written before `openat2` refuse it so."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(_OpenHow),
    ctypes.c_size_t,
)
_syscall.restype = ctypes.c_long


def open_file(path: bytes) -> int:
    """Return a descriptor to read what *path* names; the caller looks whether it is a regular file.

    Raises:
        OSError: ELOOP if a component of *path* is a link.
    """
    # NONBLOCK: opening a FIFO that took the file's place would wait for ever. LARGEFILE: a 32-bit
    # kernel refuses files of 2 GiB without it, and the C library is not there to add it.
    return _open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_LARGEFILE)


@contextmanager
def folder(path: bytes) -> Iterator[int]:
    """Open the folder at *path* for a ``with`` block.

    Raises:
        OSError: ELOOP if a component of *path* is a link.
    """
    place = answers.place_of(path)
    fd = _open(path or b"/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        answers.close(place, fd)


def status(path: bytes) -> os.stat_result:
    """Return what `lstat` says of *path*, reached without a link.

    Raises:
        OSError: ELOOP if a component before the last is a link.
    """
    return answers.touch(path, lambda: _status(path))


def _status(path: bytes) -> os.stat_result:
    fd = _open_now(path or b"/", os.O_PATH | os.O_NOFOLLOW)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def real_path(path: bytes, *, hands: Patience = SHARED) -> bytes:
    """Return where *path*, which a person named, really leads.

    Where no component of it is a link, only what it is mounted on is asked: of a mount that hangs one call is
    waited for, whatever folders of it are named.

    Args:
        path: absolute.
        hands: do the looking where a link leads on.

    Raises:
        SilentError: some file system on the way does not answer.
    """
    if path.startswith(b"/") and path == os.path.normpath(path):
        try:
            if not stat.S_ISLNK(status(path).st_mode):
                return path
        except SilentError:
            raise
        except OSError as error:
            if error.errno == errno.ENOENT:  # what of it is there is no link
                return path
    return answers.real_path_of(path, hands=hands)


def is_there(path: bytes) -> bool:
    """Return whether *path* names something; any doubt is True."""
    try:
        status(path)
    except OSError as error:
        return error.errno not in ABSENT
    return True


def _open(path: bytes, flags: int) -> int:
    return answers.touch(path, lambda: _open_now(path, flags), undo=os.close)


def _open_now(path: bytes, flags: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS)
    fd = _syscall(_OPENAT2, _AT_FDCWD, path, ctypes.byref(how), ctypes.sizeof(how))
    if fd >= 0:
        return int(fd)
    code = ctypes.get_errno()
    if code in _NOT_OFFERED:
        return open_by_component(path, flags)
    raise OSError(code, os.strerror(code), path)


def open_by_component(path: bytes, flags: int) -> int:
    """Do what `openat2` does, without it: one `openat` for each component of *path*."""
    *above, name = [part for part in path.split(b"/") if part] or [b"."]
    # O_PATH: a folder on the way need not be readable, only searchable.
    held = os.open(b"/" if path.startswith(b"/") else b".", os.O_PATH | os.O_CLOEXEC)
    try:
        for part in above:
            below = _open_in(held, part, os.O_PATH | os.O_DIRECTORY)
            os.close(held)
            held = below
        return _open_in(held, name, flags)
    finally:
        os.close(held)


def _open_in(fd: int, name: bytes, flags: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except NotADirectoryError as error:
        # A link that is asked for as a folder; `openat2` calls it a loop.
        if stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from error
        raise
