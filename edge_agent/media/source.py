"""Reading a recording: identity, pieces, digests. Never writes, never reads a file whole."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from edge_agent.base.errors import (
    SourceChangedError,
    SourceError,
    SourceSilentError,
    SourceUnreadableError,
    SourceVanishedError,
)
from edge_agent.base.patience import SilentError
from edge_agent.core.left_out import Cause, cause_of
from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity
from edge_agent.media import answers, beneath
from edge_agent.media.identity import identity_of
from upload_protocol.ranges import ByteRange

KIB = 1024
PIECE_BYTES = 512 * KIB
"""Per read: below 64 KiB the interpreter costs more than the copy, above 1 MiB nothing is won."""

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.ESTALE})


_AT_ONCE = getattr(os, "RWF_NOWAIT", 0)


_ACTIONS = {
    Cause.PERMISSION: "; give the agent's user access to it",
    Cause.SOURCE_IO: "; the card may be dying: copy now what can still be read, then replace it",
}


SILENT = (
    "the server or program behind it is gone, or the way to it; look at `mount` and at that server; what"
    " lies elsewhere is sent, and this goes on by itself when it answers"
)


@contextmanager
def _translated(path: bytes) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(error, path) from error


def _label(path: bytes) -> str:
    return printable(path.rpartition(b"/")[2])


_LEASED = (
    "another program has a lease on it, as a file server takes them (Samba), and the kernel has asked for it back;"
    " tried again by itself"
)


def _translate(error: OSError, path: bytes) -> SourceError:
    name = _label(path)
    if isinstance(error, SilentError):
        return SourceSilentError(f"the file system that {name} lies on does not answer: {SILENT}")
    if error.errno in _GONE:
        return SourceVanishedError(f"{name} is gone")
    if error.errno == errno.ELOOP:
        return SourceChangedError(f"{name}, or a folder on the way to it, is a symbolic link now")
    why, cause = os.strerror(error.errno) if error.errno else str(error), cause_of(error.errno)
    if error.errno == errno.EAGAIN:
        why = _LEASED
    return SourceUnreadableError(f"{name} cannot be read: {why}{_ACTIONS.get(cause, '')}", cause)


Feed = Callable[[int, bytes], None]
"""Takes the piece at an offset."""


class Source:
    """One open recording. Close it, or use it in a ``with`` block.

    Every method that touches the file raises a `SourceError`, and nothing else, when the file is not
    what it should be.
    """

    def __init__(self, path: bytes, fd: int, identity: Identity) -> None:
        self.path = path
        self.identity = identity
        """As it was when the file was opened."""
        self.reads_on = False
        """Whether `check` passes a file that was deleted, or replaced, since it was opened: its bytes are all
        here."""
        self._fd = fd
        self._place = answers.place_of(path)
        self._last = bytearray(1)
        self._deleted: Identity | None = None
        """As it was when it was found deleted, which moves its ctime."""

    @classmethod
    def open(cls, path: bytes) -> Source:
        """Open the regular file at *path*; a link in its place, or on the way to it, is refused.

        Raises:
            SourceError: gone, not readable, or no regular file.
        """
        with _translated(path):
            fd, found = answers.touch(
                path, lambda: _open(path), undo=lambda opened: os.close(opened[0])
            )
        return cls(path, fd, identity_of(found))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        answers.close(self._place, self._fd)

    def fileno(self) -> int:
        return self._fd

    def again(self) -> Source:
        """Return the same open file once more, to be closed by itself.

        Raises:
            SourceUnreadableError: there is no descriptor left.
        """
        with _translated(self.path):
            return Source(self.path, os.dup(self._fd), self.identity)

    def now(self) -> Identity:
        """Return what the open file is now.

        Raises:
            SourceError: that cannot be told.
        """
        return identity_of(self._status())

    def _status(self) -> os.stat_result:
        with _translated(self.path):
            return answers.touch(self.path, lambda: os.fstat(self._fd), place=self._place)

    @property
    def is_unlinked(self) -> bool:
        """Whether the open file has no name any more, nor another one.

        Raises:
            SourceError: that cannot be told.
        """
        return self._status().st_nlink == 0

    @property
    def is_deleted(self) -> bool:
        """Whether `check` has found it deleted, and passed it."""
        return self._deleted is not None

    def check(self, expected: Identity, *, folder: int | None = None) -> None:
        """Compare the open file, and what its path names now, with *expected*.

        Only what has the same length and times passes. Neither the device's number counts, which is another
        one when a card is plugged in again, nor that of the inode.

        Args:
            folder: a descriptor of the folder in which its name is looked up; None: by its path.

        Raises:
            SourceChangedError: other bytes may be in it, or another file has its name.
            SourceVanishedError: nothing has its name any more.
        """
        with _translated(self.path):
            answers.touch(self.path, lambda: self._check(expected, folder), place=self._place)

    def _check(self, expected: Identity, folder: int | None) -> None:
        if self._passes_deleted(expected):
            return
        with _translated(self.path):
            opened = identity_of(os.fstat(self._fd))
            if folder is None:
                named = identity_of(beneath.status(self.path))
            else:
                name = self.path.rpartition(b"/")[2]
                named = identity_of(os.stat(name, dir_fd=folder, follow_symlinks=False))
        if not opened.is_same_file(named) or not opened.is_untouched(expected):
            msg = f"{_label(self.path)} was changed: {_difference(opened, expected)}"
            raise SourceChangedError(msg)

    def _passes_deleted(self, expected: Identity) -> bool:
        """Return whether the file is read on though it has no name any more.

        Its old name may be another file's by now, which is another recording. One that has a name still
        was moved.
        """
        if not self.reads_on:
            return False
        with _translated(self.path):
            status = os.fstat(self._fd)
            opened = identity_of(status)
            if self._deleted is not None:
                if opened != self._deleted:
                    msg = f"{_label(self.path)} was written to after it was deleted"
                    raise SourceChangedError(msg)
                return True
            if status.st_nlink:
                return False
        if not opened.is_same_content(expected):
            return False
        self._deleted = opened
        return True

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly *length* bytes from *offset*.

        Raises:
            SourceChangedError: the file ends before that.
        """
        with _translated(self.path):
            if self._is_in_memory(offset, length):
                return self._read(offset, length)
            return answers.touch(self.path, lambda: self._read(offset, length), place=self._place)

    def _is_in_memory(self, offset: int, length: int) -> bool:
        """Return whether the kernel has that piece, as far as its ends tell: then nobody is waited for.

        Handing the call over costs as much as the copy.
        """
        if not _AT_ONCE:
            return False
        try:
            return all(
                os.preadv(self._fd, [self._last], at, _AT_ONCE)
                for at in (offset, offset + length - 1)
            )
        except OSError:  # not there; or a file system that does not say
            return False

    def _read(self, offset: int, length: int) -> bytes:
        with _translated(self.path):
            piece = os.pread(self._fd, length, offset)
            while len(piece) < length:
                more = os.pread(self._fd, length - len(piece), offset + len(piece))
                if not more:
                    msg = f"{_label(self.path)} became shorter"
                    raise SourceChangedError(msg)
                piece += more
        return piece

    def pieces(self, where: ByteRange, *, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
        """Yield the bytes of *where* in order."""
        at = where.start
        while at < where.stop:
            piece = self.read(at, min(piece_bytes, where.stop - at))
            yield piece
            at += len(piece)

    def release_cache(self, where: ByteRange) -> None:
        """Tell the kernel that these bytes are not read again soon.

        Otherwise one large recording pushes everything else out of a small board's memory.
        """
        with suppress(OSError):
            os.posix_fadvise(self._fd, where.start, where.length, os.POSIX_FADV_DONTNEED)

    def block_digests(
        self, where: ByteRange, *, block_bytes: int, running: Feed | None = None
    ) -> dict[int, bytes]:
        """Return block number -> SHA-256 for the blocks that begin in *where*.

        ``where.start`` must lie on a block's border. *running* is fed in the same pass, piece by piece.
        """
        digests: dict[int, bytes] = {}
        for start in range(where.start, where.stop, block_bytes):
            block = hashlib.sha256()
            at = start
            for piece in self.pieces(ByteRange(start, min(where.stop, start + block_bytes))):
                block.update(piece)
                if running is not None:
                    running(at, piece)
                at += len(piece)
            digests[start // block_bytes] = block.digest()
        return digests


def _open(path: bytes) -> tuple[int, os.stat_result]:
    fd = beneath.open_file(path)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            msg = f"{_label(path)} is no regular file any more"
            raise SourceChangedError(msg)
        with suppress(OSError):  # a hint: read ahead further
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    except BaseException:
        os.close(fd)
        raise
    return fd, found


def _difference(found: Identity, expected: Identity) -> str:
    if found.length != expected.length:
        return f"{expected.length} bytes before, {found.length} now"
    if found.inode != expected.inode:
        return "another file has its name"
    return "it was written to"
