"""One descriptor of a part file, or of a published one."""

from __future__ import annotations

import errno
import os
import stat

from ingest_server.storage.files.observed import UNWATCHED, Disk
from ingest_server.storage.files.write_out import begin_write_out
from ingest_server.storage.interface import Part

_COPY_BYTES = 1024 * 1024
_NO_KERNEL_COPY = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class PartFile(Part):
    """One request's own descriptor of a part file; never in append mode."""

    def __init__(self, fd: int, disk: Disk = UNWATCHED) -> None:
        self._fd = fd
        self._disk = disk

    def pread(self, length: int, offset: int) -> bytes:
        pieces = []
        with self._disk.failing("read"):
            while length:
                piece = os.pread(self._fd, length, offset)
                if not piece:
                    break
                pieces.append(piece)
                length -= len(piece)
                offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pwrite(self, data: memoryview, offset: int) -> None:
        # Not timed: it ends in the page cache, and there are four of them in a megabyte.
        with self._disk.failing("write"):
            while data:
                written = os.pwrite(self._fd, data, offset)
                data = data[written:]
                offset += written

    def copy_from(self, source: Part, length: int, *, start: int, offset: int) -> None:
        """As `Part` says.

        The kernel copies, and on XFS and Btrfs it only lets both files share the blocks; bytes of another
        store are read and written.

        Raises:
            OSError: the disk failed, or *source* is shorter.
        """
        end = offset + length
        while offset < end:
            copied = self._copied(source, end - offset, start=start, offset=offset)
            if not copied:
                raise OSError(errno.EIO, f"the part file ends at byte {start}")
            start += copied
            offset += copied

    def _copied(self, source: Part, length: int, *, start: int, offset: int) -> int:
        """Copy some bytes; return how many."""
        if isinstance(source, PartFile):
            try:
                return os.copy_file_range(source._fd, self._fd, length, start, offset)
            except OSError as error:
                if error.errno not in _NO_KERNEL_COPY:
                    raise
        data = source.pread(min(length, _COPY_BYTES), start)
        self.pwrite(memoryview(data), offset)
        return len(data)

    def write_out(self, length: int, offset: int) -> None:
        begin_write_out(self._fd, offset, length)

    def cut(self, length: int) -> None:
        if os.fstat(self._fd).st_size > length:
            os.ftruncate(self._fd, length)
            os.fsync(self._fd)

    @property
    def length(self) -> int:
        return os.fstat(self._fd).st_size

    def identity(self) -> str | None:
        """As `Part` says. None: no regular file.

        The last part is the time of the inode's last change, which no program can set. The device
        is not in it: its number may be another one after a restart.
        """
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            return None
        return f"{found.st_size}:{found.st_ino}:{found.st_mtime_ns}:{found.st_ctime_ns}"

    def times_ns(self) -> tuple[int, int]:
        """Return when it was last read and written."""
        found = os.fstat(self._fd)
        return found.st_atime_ns, found.st_mtime_ns

    def forget_cached(self) -> None:
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        with self._disk.timed("sync"):
            os.fdatasync(self._fd)  # the length too

    def close(self) -> None:
        os.close(self._fd)
