"""Part files and published files below one data folder.

Every name is opened relative to a folder that is held open, without following links: what stands
in the data folder, or in an upload's name, cannot lead out of it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ingest_server.core.errors import StorageError
from ingest_server.core.names import numbered
from ingest_server.storage.files.observed import UNWATCHED, Disk
from ingest_server.storage.files.write_out import begin_write_out

PARTS = "parts"
PUBLISHED = "published"
LOST = "lost+found"
QUARANTINE = "quarantine"

_FOLDER_MODE = 0o750
_FILE_MODE = 0o640
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SUFFIX = ".part"
_COPY_BYTES = 1024 * 1024
_NOT_OURS = {errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV}
"""Why a link, or what else a person put in a file's place, cannot be opened."""
_NO_KERNEL_COPY = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class PartFile:
    """One request's own descriptor of a part file; never in append mode."""

    def __init__(self, fd: int, disk: Disk = UNWATCHED) -> None:
        self._fd = fd
        self._disk = disk

    def pread(self, length: int, offset: int) -> bytes:
        """Return *length* bytes from *offset*, fewer only at the end of the file."""
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
        """Write all of *data*; in the page cache, not durable."""
        # Not timed: it ends in the page cache, and there are four of them in a megabyte.
        with self._disk.failing("write"):
            while data:
                written = os.pwrite(self._fd, data, offset)
                data = data[written:]
                offset += written

    def copy_from(self, source: PartFile, length: int, *, start: int, offset: int) -> None:
        """Write *length* bytes of *source*, from *start*, at *offset*; not durable.

        The kernel copies, and on XFS and Btrfs it only lets both files share the blocks.

        Raises:
            OSError: the disk failed, or *source* is shorter.
        """
        end = offset + length
        while offset < end:
            try:
                copied = os.copy_file_range(source._fd, self._fd, end - offset, start, offset)
            except OSError as error:
                if error.errno not in _NO_KERNEL_COPY:
                    raise
                data = source.pread(min(end - offset, _COPY_BYTES), start)
                self.pwrite(memoryview(data), offset)
                copied = len(data)
            if not copied:
                raise OSError(errno.EIO, f"the part file ends at byte {start}")
            start += copied
            offset += copied

    def write_out(self, length: int, offset: int) -> None:
        """Let the disk begin with bytes that were written; nothing is durable by it."""
        begin_write_out(self._fd, offset, length)

    def cut(self, length: int) -> None:
        """Drop what lies past *length*; durable on return."""
        if os.fstat(self._fd).st_size > length:
            os.ftruncate(self._fd, length)
            os.fsync(self._fd)

    @property
    def length(self) -> int:
        return os.fstat(self._fd).st_size

    def identity(self) -> str | None:
        """Return what tells this file, unchanged, from any other; opaque. None: no regular file.

        The last part is the time of the inode's last change, which no program can set. The device
        is not in it: its number may be another one after a restart.
        """
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            return None
        return f"{found.st_size}:{found.st_ino}:{found.st_mtime_ns}:{found.st_ctime_ns}"

    def forget_cached(self) -> None:
        """Let the next reads come from the disk: what is only in memory tells nothing of it."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Make every byte written to the file so far durable, its length too.

        Raises:
            OSError: some were lost. A second call would succeed and prove nothing.
        """
        with self._disk.timed("sync"):
            os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


class FileBlobs:
    """The bytes of uploads: ``parts/`` while they arrive, ``published/`` when verified."""

    def __init__(self, data_dir: Path, disk: Disk = UNWATCHED) -> None:
        """Take the folder; nothing is done there before `prepare`.

        Args:
            disk: told how long the disk takes for it, and of what it refuses.
        """
        self.data_dir = data_dir
        self._disk = disk
        self._parts = self._published = self._lock = -1

    def prepare(self) -> None:
        """Make the folders and hold them; nobody else may use them until `close`.

        Raises:
            StorageError: hard links fail there, it cannot be written, or another server has it.
        """
        try:
            self.data_dir.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            self._lock = os.open(
                self.data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in (PARTS, PUBLISHED, LOST):
                (self.data_dir / name).mkdir(mode=_FOLDER_MODE, exist_ok=True)
            _sync_folder(self.data_dir)
            with suppress(PermissionError):  # it was there before, then
                _sync_folder(self.data_dir.absolute().parent)
            self._parts = os.open(self.data_dir / PARTS, _OPEN_FOLDER)
            self._published = os.open(self.data_dir / PUBLISHED, _OPEN_FOLDER)
            self._try_a_link()
        except BlockingIOError as error:
            self.close()
            raise StorageError(
                f"another ingest-server is using {self.data_dir}: stop it, or use another data_dir"
            ) from error
        except OSError as error:
            self.close()
            raise StorageError(f"cannot use {self.data_dir}: {error}") from error
        except StorageError:
            self.close()
            raise

    def _try_a_link(self) -> None:
        name = f"{_SUFFIX}-{secrets.token_hex(8)}"
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._parts))
        try:
            os.link(name, name, src_dir_fd=self._parts, dst_dir_fd=self._published)
            os.unlink(name, dir_fd=self._published)
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise StorageError(
                    f"{self.data_dir / PUBLISHED} is on another filesystem than "
                    f"{self.data_dir / PARTS}: keep both on one, and copy from there"
                ) from error
            raise StorageError(
                f"{self.data_dir} is on a filesystem without hard links ({error.strerror}): "
                "put data_dir on ext4, XFS, Btrfs or ZFS"
            ) from error
        finally:
            os.unlink(name, dir_fd=self._parts)

    def close(self) -> None:
        """Let go of the folders."""
        for fd in (self._parts, self._published, self._lock):
            if fd >= 0:
                os.close(fd)
        self._parts = self._published = self._lock = -1

    def probe(self) -> None:
        """Write a byte to the disk, durably, and remove it again.

        Raises:
            OSError: the disk does not take it.
        """
        name = f"{_SUFFIX}-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=self._parts)
        try:
            os.write(fd, b"?")
            os.fsync(fd)
        finally:
            os.close(fd)
            os.unlink(name, dir_fd=self._parts)

    def free_bytes(self) -> int:
        """Return the bytes that an ordinary process may still write."""
        found = os.fstatvfs(self._parts)
        return found.f_bavail * found.f_frsize

    def create_part(self, upload_id: str) -> None:
        """Make an empty part file; its name is durable on return."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._disk.timed("create"):
            fd = os.open(upload_id + _SUFFIX, flags, _FILE_MODE, dir_fd=self._parts)
            try:
                os.fchmod(fd, _FILE_MODE)  # whatever the umask is
                os.fsync(fd)
            finally:
                os.close(fd)
            os.fsync(self._parts)

    def part_path(self, upload_id: str) -> Path:
        """Return where a part file is, for a program outside of this server that reads it."""
        return self.data_dir.absolute() / PARTS / f"{upload_id}{_SUFFIX}"

    def published_path(self, target: str) -> Path:
        """Return where a published file is, for a program outside of this server."""
        return self.data_dir.absolute() / PUBLISHED / target

    def open_part(self, upload_id: str) -> PartFile:
        """Return an own descriptor of the part file.

        Raises:
            FileNotFoundError: there is none.
        """
        # A part that is gone is no fault of the disk: opening is not watched.
        return PartFile(self._part_fd(upload_id), self._disk)

    def _part_fd(self, upload_id: str) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(upload_id + _SUFFIX, flags, dir_fd=self._parts)

    def remove_part(self, upload_id: str) -> None:
        """Unlink the part file if it is there; what was published stays."""
        with suppress(FileNotFoundError):
            os.unlink(upload_id + _SUFFIX, dir_fd=self._parts)

    def part_ids(self) -> list[str]:
        """Return the ids of all part files."""
        return [
            name.removesuffix(_SUFFIX) for name in os.listdir(self._parts) if name.endswith(_SUFFIX)
        ]

    def part_identity(self, upload_id: str) -> str | None:
        """Return the identity of a part file: `PartFile.identity`."""
        part = self.open_part(upload_id)
        try:
            return part.identity()
        finally:
            part.close()

    def has_part(self, upload_id: str) -> bool:
        return self._stat(upload_id + _SUFFIX, self._parts) is not None

    def part_length(self, upload_id: str) -> int | None:
        """Return how long a part file is; None: there is none."""
        found = self._stat(upload_id + _SUFFIX, self._parts)
        return None if found is None else found.st_size

    def set_aside(self, upload_id: str) -> None:
        """Move a part file that nobody knows to ``lost+found``: a person decides about it."""
        name = upload_id + _SUFFIX
        lost = self.data_dir / LOST / name
        if lost.exists():
            lost = lost.with_name(f"{name}.{secrets.token_hex(4)}")
        os.rename(name, lost, src_dir_fd=self._parts)
        _sync_folder(lost.parent)

    def look(self) -> None:
        """Hold the published files only, beside a running server; until `close`.

        Raises:
            StorageError: there is no such folder, or it cannot be read.
        """
        try:
            self._published = os.open(self.data_dir / PUBLISHED, _OPEN_FOLDER)
        except OSError as error:
            raise StorageError(f"cannot read {self.data_dir / PUBLISHED}: {error}") from error

    def open_published(self, target: str) -> PartFile:
        """Return a descriptor of a published file, to be read.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
            OSError: it is a link, or cannot be opened.
        """
        *parents, leaf = target.split("/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._walk(parents, make=False) as folders:
            return PartFile(os.open(leaf, flags, dir_fd=folders[-1]))

    def published_paths(self) -> Iterator[str]:
        """Yield the path below the published folder of every file there."""
        root = self.data_dir / PUBLISHED
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                yield str((Path(folder) / name).relative_to(root))

    def copy_to_quarantine(self, target: str) -> str:
        """Give a published file a name in quarantine too; durable on return.

        Returns:
            That name, relative to the data folder.

        Raises:
            OSError: it cannot be had; FileNotFoundError: the file is gone.
        """
        (self.data_dir / QUARANTINE).mkdir(mode=_FOLDER_MODE, exist_ok=True)
        *parents, leaf = target.split("/")
        for name in numbered(target):
            there = self.data_dir / QUARANTINE / name
            there.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            with self._walk(parents, make=False) as folders, suppress(FileExistsError):
                os.link(leaf, there, src_dir_fd=folders[-1], follow_symlinks=False)
                for folder in (there.parent, *there.parent.relative_to(self.data_dir).parents):
                    _sync_folder(self.data_dir / folder)
                return f"{QUARANTINE}/{name}"
        raise AssertionError("numbered() never ends")

    def is_in_quarantine(self, target: str) -> bool:
        """Whether something that was published at *target* has been set apart."""
        return (self.data_dir / QUARANTINE / target).exists()

    def withdraw(self, target: str) -> None:
        """Take a published file's name away; durable on return. Another name must hold it."""
        *parents, leaf = target.split("/")
        with self._walk(parents, make=False) as folders:
            os.unlink(leaf, dir_fd=folders[-1])
            os.fsync(folders[-1])

    def identity(self, target: str) -> str | None:
        """Return the identity of a published file: `PartFile.identity`.

        Everything that is done to the file afterwards changes it, taking its part's name away too.
        None where no regular file stands there, or it cannot be opened.
        """
        *parents, leaf = target.split("/")
        try:
            with self._walk(parents, make=False) as folders:
                return self._identity(leaf, folders[-1])
        except OSError:
            return None

    @staticmethod
    def _identity(leaf: str, folder: int) -> str | None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        part = PartFile(os.open(leaf, flags, dir_fd=folder))
        try:
            return part.identity()
        finally:
            part.close()

    def remove_published(self, target: str, identity: str) -> bool:
        """Take away the name of just that file, and folders that are empty then; durable.

        The first folder of *target* stays. Repeatable: what a crash cut short is completed.

        Returns:
            False when that file is not there (any more); what is there instead stays.

        Raises:
            OSError: the disk failed.
        """
        *parents, leaf = target.split("/")
        is_same = False
        gone = suppress(FileNotFoundError, NotADirectoryError)
        with gone, self._walk(parents, make=False) as folders:
            try:
                found = self._identity(leaf, folders[-1])
                # What an earlier version marked has no time of change yet.
                is_same = found is not None and f"{found}:".startswith(f"{identity}:")
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in _NOT_OURS:
                    raise
            if is_same:
                os.unlink(leaf, dir_fd=folders[-1])
            os.fsync(folders[-1])
        self._remove_empty(parents)
        return is_same

    def _remove_empty(self, parents: Sequence[str]) -> None:
        for depth in range(len(parents) - 1, 0, -1):
            try:
                with self._walk(parents[:depth], make=False) as folders:
                    with suppress(FileNotFoundError):
                        os.rmdir(parents[depth], dir_fd=folders[-1])
                    os.fsync(folders[-1])
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                return

    def is_published(self, target: str, length: int) -> bool:
        """Return whether a regular file of *length* bytes stands at *target*."""
        found = self._stat_published(target)
        return found is not None and found.st_size == length and stat.S_ISREG(found.st_mode)

    def is_taken(self, target: str) -> bool:
        return self._stat_published(target) is not None

    def link(self, upload_id: str, target: str) -> bool:
        """Give the part file its published name too; not durable before `sync_target`.

        Returns:
            False when another file has that name; True also when this one had it already.

        Raises:
            NotADirectoryError: a file stands where *target* needs a folder.
        """
        part = upload_id + _SUFFIX
        *parents, leaf = target.split("/")
        with self._walk(parents, make=True) as folders:
            try:
                os.link(part, leaf, src_dir_fd=self._parts, dst_dir_fd=folders[-1],
                        follow_symlinks=False)  # fmt: skip
            except FileExistsError:
                return self.is_linked(upload_id, target)
        return True

    def link_published(self, source: str, target: str) -> bool:
        """Give a published file one more name; not durable before `sync_target`.

        Returns:
            False when another file has that name.

        Raises:
            FileNotFoundError: there is no such file any more.
            NotADirectoryError: a file stands where *target* needs a folder.
        """
        *parents, leaf = target.split("/")
        *source_parents, source_leaf = source.split("/")
        with (
            self._walk(source_parents, make=False) as there,
            self._walk(parents, make=True) as folders,
        ):
            try:
                os.link(source_leaf, leaf, src_dir_fd=there[-1], dst_dir_fd=folders[-1],
                        follow_symlinks=False)  # fmt: skip
            except FileExistsError:
                return False
        return True

    def is_linked(self, upload_id: str, target: str) -> bool:
        """Return whether *target* is a name of the part file: the same inode."""
        there = self._stat_published(target)
        ours = self._stat(upload_id + _SUFFIX, self._parts)
        return (
            there is not None
            and ours is not None
            and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        )

    def sync_target(self, target: str) -> None:
        """Make the published name durable: its folder and each one above it."""
        *parents, _leaf = target.split("/")
        with self._disk.timed("publish"), self._walk(parents, make=False) as folders:
            # All of them, not only those made now: a crash may lie between making and this.
            for fd in reversed(folders):
                os.fsync(fd)

    @contextmanager
    def _walk(self, parents: Sequence[str], *, make: bool) -> Iterator[list[int]]:
        """Open each folder below the one before; the first is the published folder."""
        folders = [os.dup(self._published)]
        try:
            for name in parents:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, _FOLDER_MODE, dir_fd=folders[-1])
                try:
                    folders.append(os.open(name, _OPEN_FOLDER, dir_fd=folders[-1]))
                except OSError as error:
                    if error.errno == errno.ELOOP:  # a symbolic link: as good as a file
                        raise NotADirectoryError(errno.ENOTDIR, "a link", name) from error
                    raise
            yield folders
        finally:
            for fd in folders:
                os.close(fd)

    def _stat_published(self, target: str) -> os.stat_result | None:
        *parents, leaf = target.split("/")
        try:
            with self._walk(parents, make=False) as folders:
                return self._stat(leaf, folders[-1])
        except (FileNotFoundError, NotADirectoryError):
            return None

    @staticmethod
    def _stat(name: str, folder: int) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


def is_unwritten(before: str, after: str) -> bool:
    """Whether both identities are of one file that only got, or lost, a name in between."""
    return before.rpartition(":")[0] == after.rpartition(":")[0]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, _OPEN_FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
