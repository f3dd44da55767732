"""Files of the machine, put in place whole and durable: after a power cut the old one is there or the new one."""

from __future__ import annotations

import os
from pathlib import Path

from edge_host.durable import sync


def put(path: Path, content: bytes, *, mode: int, uid: int = 0, gid: int = 0) -> None:
    """Put *content* in the place of the file at *path*; its folder is there.

    Raises:
        OSError: the old content, or none, is still there.
    """
    fresh = beside(path)
    fresh.unlink(missing_ok=True)  # of a run that was cut off
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(content)
            out.flush()
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
            os.fsync(fd)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def beside(path: Path) -> Path:
    """Return where the new content of the file at *path* lies until it is whole; its folder is root's."""
    return path.parent / f".{path.name}.new"


def make_folder(path: Path, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
    """Make the folder at *path*; what it lies in is there.

    Raises:
        OSError: it cannot be made.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    sync(path.parent)
