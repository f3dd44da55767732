"""Asking the kernel whether somebody has a file open for writing.

``fcntl(F_SETLEASE, F_RDLCK)`` is granted only while no process has the file open for writing, nor has
it mapped for writing (measured: 15 µs). It needs the file's owner or CAP_LEASE.

The kernel counts the openers that came through its own inode, no others. So the answer is worth
something only where every write goes through that inode (`_BELIEVED`); elsewhere a writer on another
machine, or on another path of this one, is not counted, and a refusal need not mean a writer. There
nothing is asked, and the answer is `Writer.UNKNOWN`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from edge_agent.base.file_system import BTRFS, kind_of
from edge_agent.base.helper import only_helps
from edge_agent.core.retention import LEAST_QUIET_S, QUIETER
from edge_agent.core.stability import Writer
from edge_agent.media import answers, beneath
from edge_agent.media.mounts import mount_points_below, read_mountinfo

_BELIEVED = MappingProxyType(
    {
        # Tried on Linux 6.18, file made and then asked about: closed; open for writing; closed, yet
        # mapped for writing; the same through a read-only bind mount; a btrfs subvolume. Each told
        # the truth.
        0xEF53: "ext4",  # ext2 and ext3, too
        0x58465342: "XFS",
        BTRFS: "btrfs",
        0x01021994: "tmpfs",
        # Tried on Linux 6.1, but for the mount and the subvolume.
        0x4D44: "FAT",
        0x2011BAB0: "exFAT",
        # Not tried. By its source it is of the same kind: on a local block device, one inode in the
        # kernel for each file, and the kernel's own leases.
        0xF2F52010: "F2FS",
    }
)
"""``f_type`` of statfs(2) -> name, of file systems whose files only this kernel writes."""

_DOUBTED = MappingProxyType(
    {
        # Tried on Linux 6.18 with bindfs: granted while a program writes to the file by the folder
        # below it. fuseblk and virtiofs are of this type, too.
        0x65735546: "FUSE",
        # Tried on Linux 6.18: granted while a program writes to the file in its upper or lower folder.
        0x794C7630: "overlay",
        # Others write on the server; SMB grants by its oplock alone.
        0x6969: "NFS",
        0xFF534D42: "SMB",
        0xFE534D42: "SMB",
        0x01021997: "9p",
        0x00C36400: "Ceph",
    }
)
"""Names for people: whatever is not in `_BELIEVED` is not believed."""

_NUMBERS_INVENTED = frozenset({0x4D44, 0x2011BAB0})
"""Of `_BELIEVED`: FAT and exFAT number files as they are looked up, and store no ctime."""

_NO_LEASES = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK}
_INSTEAD = (
    "one counts as finished once it was quiet for [watch] fallback_settle_seconds, and may be deleted"
    f" after {QUIETER} times that, {LEAST_QUIET_S / 60:.0f} minutes at least"
)


class LeaseProbe:
    """Asks, and remembers why it could not. For one thread."""

    def __init__(self) -> None:
        self._limits: set[str] = set()

    def writer(self, path: bytes) -> Writer:
        """Return who writes to the regular file at *path*; UNKNOWN if it cannot be opened, or is silent."""
        try:
            return answers.touch(path, lambda: self._writer(path))
        except OSError:
            return Writer.UNKNOWN

    def _writer(self, path: bytes) -> Writer:
        try:
            fd = beneath.open_file(path)
        except OSError:
            return Writer.UNKNOWN
        try:
            return self.writer_of(fd)
        finally:
            os.close(fd)

    def writer_of(self, fd: int) -> Writer:
        """Return who writes to the regular file behind *fd*, which must be open for reading only.

        NOBODY holds for the instant of the question: whoever opens the file then is not held up.
        """
        with self.while_unwritten(fd) as writer:
            return writer

    @contextmanager
    def while_unwritten(self, fd: int) -> Iterator[Writer]:
        """Tell who writes to the regular file behind *fd*, which must be open for reading only.

        NOBODY holds to the end of the ``with`` block: whoever opens the file for writing waits for it,
        at most fs.lease-break-time seconds (45).
        """
        writer = self._take_lease(fd)
        try:
            yield writer
        finally:
            if writer is Writer.NOBODY:
                with only_helps("leases", instead="it ends when the file is closed"):
                    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def _take_lease(self, fd: int) -> Writer:
        """Return who writes; with NOBODY a lease is held on *fd*."""
        with only_helps("leases", instead="the quiet time decides when a recording is finished"):
            if stat.S_ISREG(os.fstat(fd).st_mode) and self._believes(fd):
                return self._ask(fd)
        return Writer.UNKNOWN

    def _ask(self, fd: int) -> Writer:
        try:
            return _take(fd)
        except OSError as error:
            if error.errno in _NO_LEASES:
                self._limits.add(
                    f"this kernel does not tell who writes to recordings: {_INSTEAD}; set the sysctl"
                    " fs.leases-enable to 1 if it is 0"
                )
            elif error.errno in (errno.EACCES, errno.EPERM):
                self._limits.add(
                    "this user may not ask who writes to recordings, for they belong to another user:"
                    f" {_INSTEAD}; give the agent CAP_LEASE, as its unit does"
                )
            return Writer.UNKNOWN

    def consider(self, root: Path, *, recursive: bool) -> None:
        """Add to `limits` what can be told of the folder *root*, a real path, without a file in it.

        Args:
            root: the folder.
            recursive: whether what is mounted below it counts.
        """
        below: tuple[bytes, ...] = ()
        if recursive:
            with suppress(OSError):
                below = mount_points_below(root, read_mountinfo())
        for folder in (os.fsencode(root), *below):
            with suppress(OSError):  # gone this instant, or nobody's who may not enter it
                fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
                try:
                    self._believes(fd)
                finally:
                    os.close(fd)

    @property
    def limits(self) -> tuple[str, ...]:
        """Why some answers are UNKNOWN: what, what it means, what to do. Empty while all is well."""
        return tuple(sorted(self._limits))

    def forget(self) -> None:
        """Forget the `limits`: a mount changed."""
        self._limits.clear()

    def _believes(self, fd: int) -> bool:
        """Return whether what the kernel says of the writers of *fd* is all there is to say."""
        kind = kind_of(fd)
        if kind in _BELIEVED:
            return True
        name = _DOUBTED.get(kind, f"a file system of type {kind:#x}")
        self._limits.add(
            f"recordings lie on {name}, where others may write unseen by this kernel: {_INSTEAD}; set"
            " fallback_settle_seconds above the recorder's longest pause between two writes, or record on a disk of this"
            " device (ext4, say)"
        )
        return False


def keeps_identity(fd: int) -> bool:
    """Return whether no other bytes can have the inode, length, mtime and ctime that *fd* has.

    Elsewhere another card, or another machine, may bring a file that looks the same in all four.
    """
    kind = kind_of(fd)
    return kind in _BELIEVED and kind not in _NUMBERS_INVENTED


def _take(fd: int) -> Writer:
    # A writer that opens the file until we let go waits for us, and the kernel
    # tells us so by a signal. The default one, SIGIO, would end the process; SIGURG is ignored.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return Writer.SOMEBODY
        raise
    return Writer.NOBODY
