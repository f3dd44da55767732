"""Taking a verified recording off the disk, such that no byte is lost that a program still writes.

A program may open the file again at any time, and one that has looked the name up, and not opened it
yet, opens it even after the name is gone: a lease held across the unlink makes it wait and then write
to a file without a name (measured: 299 of 300). So the file is moved aside first, to a hidden name in
its folder, where nobody opens it. What was being opened meanwhile is open after a moment: then it is
asked again who writes, compared, and either unlinked or put back.

A hidden name that a power cut has left is put back by the next start. Nothing here waits or remembers.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from edge_agent.base.errors import SourceChangedError
from edge_agent.core.recording import Identity
from edge_agent.core.stability import Writer
from edge_agent.media import beneath
from edge_agent.media.identity import identity_of
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.source import Source
from edge_host.renaming import rename_if_free

PREFIX = b".edge-agent-leaving-"
_NAME_BYTES = 255
"""The longest name on nearly all file systems."""

_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
"""File systems that cannot sync a folder: an unlink that a power cut undoes costs one more look."""


class StillWrittenError(Exception):
    """A program has the file open for writing."""


@dataclass(frozen=True, slots=True)
class Aside:
    """A recording under a hidden name."""

    path: bytes
    """Where it was."""
    hidden: bytes
    identity: Identity
    """As it was right after the move: that has set its ctime."""


def hidden_path(path: bytes) -> bytes:
    """Return where the file at *path* is moved aside to, in the same folder."""
    folder, slash, name = path.rpartition(b"/")
    end = name[-(_NAME_BYTES - len(PREFIX)) :]
    if end != name:
        # Cut between two characters: FAT refuses what is no text.
        end = (
            end.decode("utf-8", "surrogateescape")
            .lstrip(_HALVES)
            .encode("utf-8", "surrogateescape")
        )
    return folder + slash + PREFIX + end


_HALVES = "".join(chr(0xDC00 + byte) for byte in range(0x80, 0xC0))
"""Continuation bytes of UTF-8, as `surrogateescape` shows them where their beginning is cut off."""


def move_aside(path: bytes, source: Source, expected: Identity) -> Aside:
    """Give the file at *path*, open as *source*, its hidden name.

    Raises:
        SourceError: it is not *expected*; it has its old name.
        OSError: it could not be renamed.
    """
    hidden = hidden_path(path)
    folder, _, name = path.rpartition(b"/")
    away = hidden.rpartition(b"/")[2]
    with beneath.folder(folder) as fd:
        source.check(expected, folder=fd)
        if not rename_if_free(name, away, src_dir_fd=fd, dst_dir_fd=fd):
            with suppress(FileNotFoundError):
                os.stat(away, dir_fd=fd, follow_symlinks=False)
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), hidden)
            os.rename(name, away, src_dir_fd=fd, dst_dir_fd=fd)
        moved = identity_of(os.stat(away, dir_fd=fd, follow_symlinks=False))
    if not moved.is_same_content(expected) or not moved.is_same_file(source.identity):
        put_back(hidden, name)
        raise SourceChangedError("it was written to, or replaced, while it was to be deleted")
    return Aside(path, hidden, moved)


def remove(aside: Aside, probe: LeaseProbe, *, unlink: Callable[[bytes, int], None]) -> None:
    """Unlink a file that was moved aside; durable on return.

    Raises:
        StillWrittenError: a program has it open for writing. It is where it was put.
        SourceError: it is not what was put there; or it is gone.
        OSError: it could not be unlinked, or that is not durable.
    """
    folder, _, name = aside.hidden.rpartition(b"/")
    with beneath.folder(folder) as fd:
        with Source.open(aside.hidden) as source, probe.while_unwritten(source.fileno()) as writer:
            if writer is Writer.SOMEBODY:
                raise StillWrittenError
            source.check(aside.identity, folder=fd)
            unlink(name, fd)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                raise


def put_back(hidden: bytes, name: bytes | None = None) -> bytes:
    """Give a file that was moved aside a name under which it is found; return its path.

    That is *name*, or the name that the hidden one tells; another one where a new file has that name,
    or where the file system cannot promise that it hits none.

    Raises:
        OSError: it still has its hidden name.
    """
    folder, _, there = hidden.rpartition(b"/")
    wanted = name or there.removeprefix(PREFIX)
    with beneath.folder(folder) as fd:
        try:
            is_done = rename_if_free(there, wanted, src_dir_fd=fd, dst_dir_fd=fd)
        except FileExistsError:
            is_done = False
        if not is_done:
            stem, dot, suffix = wanted.rpartition(b".")
            token = secrets.token_hex(4).encode()
            wanted = stem + b"-" + token + dot + suffix if stem else wanted + b"-" + token
            os.rename(there, wanted, src_dir_fd=fd, dst_dir_fd=fd)
    return folder + b"/" + wanted
