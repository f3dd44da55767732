"""Asking the kernel whether somebody has a file open for writing.

``fcntl(F_SETLEASE, F_RDLCK)`` is granted only while no process has the file open for writing, nor has
it mapped for writing (measured: 15 µs). It needs the file's owner or CAP_LEASE, and a file system that
knows leases; elsewhere the answer is `Writer.UNKNOWN`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal

from edge_agent.core.stability import Writer

_NO_LEASES = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}


class LeaseProbe:
    """Asks, and remembers where asking is useless. For one thread."""

    def __init__(self) -> None:
        self._useless: dict[tuple[int, int | None], str] = {}

    def writer(self, path: bytes) -> Writer:
        """Return who writes to the regular file at *path*; UNKNOWN if it cannot be opened."""
        try:
            # O_NONBLOCK: neither a lease of another process nor a FIFO in its place may hold us.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return Writer.UNKNOWN
        try:
            status = os.fstat(fd)
            mount, owner = (status.st_dev, None), (status.st_dev, status.st_uid)
            if mount in self._useless or owner in self._useless:
                return Writer.UNKNOWN
            try:
                return _ask(fd)
            except OSError as error:
                if error.errno in _NO_LEASES:
                    self._useless[mount] = "the file system knows no leases"
                elif error.errno in (errno.EACCES, errno.EPERM):
                    self._useless[owner] = "the files belong to another user"
                return Writer.UNKNOWN
        finally:
            os.close(fd)

    @property
    def limits(self) -> tuple[str, ...]:
        """Why some answers are UNKNOWN, in words; empty while all is well."""
        return tuple(sorted(set(self._useless.values())))

    def forget(self) -> None:
        """Ask anew everywhere: a mount changed."""
        self._useless.clear()


def _ask(fd: int) -> Writer:
    # A writer that opens the file in the microseconds until we let go waits for us, and the kernel
    # tells us so by a signal. The default one, SIGIO, would end the process; SIGURG is ignored.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return Writer.SOMEBODY
        raise
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writer.NOBODY
