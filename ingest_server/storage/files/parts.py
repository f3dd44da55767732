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
from datetime import UTC, datetime
from pathlib import Path

from ingest_server.core.errors import StorageError
from ingest_server.core.names import numbered
from ingest_server.storage.files.observed import UNWATCHED, Disk
from ingest_server.storage.files.part_file import PartFile
from ingest_server.storage.interface import Blobs, Claim

PARTS = "parts"
PUBLISHED = "published"
LOST = "lost+found"
QUARANTINE = "quarantine"

_FOLDER_MODE = 0o750
_FILE_MODE = 0o640
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SUFFIX = ".part"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_OURS = {errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV}
"""Why a link, or what else a person put in a file's place, cannot be opened."""


class FileBlobs(Blobs):
    """The bytes of uploads: ``parts/`` while they arrive, ``published/`` when verified.

    Hands share the file of an upload, so one process has the folder at a time: it keeps a superseded
    writer from writing.
    """

    def __init__(self, data_dir: Path, disk: Disk = UNWATCHED) -> None:
        self.data_dir = data_dir
        self._disk = disk
        self._parts = self._published = self._lock = -1

    def prepare(self) -> None:
        """Make the folders and hold them; nobody else may use them until `close`.

        Raises:
            StorageError: another server holds them, or they cannot be used; nothing is held then.
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
        for fd in (self._parts, self._published, self._lock):
            if fd >= 0:
                os.close(fd)
        self._parts = self._published = self._lock = -1

    def probe(self) -> None:
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
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._disk.timed("create"):
            fd = os.open(upload_id + _SUFFIX, flags, _FILE_MODE, dir_fd=self._parts)
            try:
                os.fchmod(fd, _FILE_MODE)  # whatever the umask is
                os.fsync(fd)
            finally:
                os.close(fd)
            os.fsync(self._parts)

    @contextmanager
    def lend_path(self, upload_id: str) -> Iterator[Path]:
        yield self.data_dir.absolute() / PARTS / f"{upload_id}{_SUFFIX}"

    @contextmanager
    def lend_published(self, target: str) -> Iterator[Path]:
        yield self.data_dir.absolute() / PUBLISHED / target

    def open_part(self, upload_id: str, claim: Claim | None = None) -> PartFile:  # noqa: ARG002 # every hand writes to the one file
        # A part that is gone is no fault of the disk: opening is not watched.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return PartFile(os.open(upload_id + _SUFFIX, flags, dir_fd=self._parts), self._disk)

    def date_part(self, upload_id: str, modified_at: datetime) -> None:
        name, since = upload_id + _SUFFIX, modified_at - _EPOCH
        mtime_ns = (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
        # A file system that cannot keep the time keeps the bytes all the same.
        with suppress(OSError):
            atime_ns = os.stat(name, dir_fd=self._parts, follow_symlinks=False).st_atime_ns
            os.utime(name, ns=(atime_ns, mtime_ns), dir_fd=self._parts, follow_symlinks=False)

    def remove_part(self, upload_id: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(upload_id + _SUFFIX, dir_fd=self._parts)

    def part_ids(self) -> list[str]:
        return [
            name.removesuffix(_SUFFIX) for name in os.listdir(self._parts) if name.endswith(_SUFFIX)
        ]

    def part_length(self, upload_id: str) -> int | None:
        found = self._stat(upload_id + _SUFFIX, self._parts)
        return None if found is None else found.st_size

    def set_aside(self, upload_id: str) -> None:
        """Move a part file to ``lost+found``: a person decides about it."""
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
        *parents, leaf = target.split("/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._walk(parents, make=False) as folders:
            return PartFile(os.open(leaf, flags, dir_fd=folders[-1]))

    def published_names(self) -> Iterator[str]:
        root = self.data_dir / PUBLISHED
        for folder, folders, names in os.walk(root):
            folders.sort()
            for name in sorted(names):
                yield str((Path(folder) / name).relative_to(root))

    def copy_to_quarantine(self, target: str) -> str:
        """Give a published file a name in quarantine too; returned relative to the data folder.

        Raises:
            OSError: it has none there; under ``published/`` it is as it was.
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
        return (self.data_dir / QUARANTINE / target).exists()

    def withdraw(self, target: str) -> None:
        *parents, leaf = target.split("/")
        with self._walk(parents, make=False) as folders:
            os.unlink(leaf, dir_fd=folders[-1])
            os.fsync(folders[-1])

    def identity(self, target: str) -> str | None:
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

    def is_unwritten(self, before: str, after: str) -> bool:
        return before.rpartition(":")[0] == after.rpartition(":")[0]

    def remove_published(self, target: str, identity: str) -> bool:
        """As `Blobs` says; folders that are empty then go too, but for the first of *target*."""
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
        found = self._stat_published(target)
        return found is not None and found.st_size == length and stat.S_ISREG(found.st_mode)

    def is_taken(self, target: str) -> bool:
        return self._stat_published(target) is not None

    def publish(self, upload_id: str, target: str) -> bool:
        """As `Blobs` says: the part file gets one more target, its bytes are not written again."""
        part = upload_id + _SUFFIX
        *parents, leaf = target.split("/")
        with self._walk(parents, make=True) as folders:
            try:
                os.link(part, leaf, src_dir_fd=self._parts, dst_dir_fd=folders[-1],
                        follow_symlinks=False)  # fmt: skip
            except FileExistsError:
                return self.is_published_as(upload_id, target)
        return True

    def publish_again(self, source: str, target: str) -> bool:
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

    def is_published_as(self, upload_id: str, target: str) -> bool:
        there = self._stat_published(target)
        ours = self._stat(upload_id + _SUFFIX, self._parts)
        return (
            there is not None
            and ours is not None
            and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        )

    def sync_published(self, target: str) -> None:
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


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, _OPEN_FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
