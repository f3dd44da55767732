"""One data folder: the files of uploads that arrive, and how they become published ones.

Names are opened relative to a folder that is held open, as in `published`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from edge_host.durable import sync
from ingest_server.core.errors import StorageError
from ingest_server.storage.files.held_folder import HeldFolder
from ingest_server.storage.files.observed import UNWATCHED, Disk
from ingest_server.storage.files.part_file import PartFile
from ingest_server.storage.files.published import (
    FOLDER_MODE,
    NO_LINKS,
    OPEN_FOLDER,
    PUBLISHED,
    PublishedFiles,
    stat_of,
)
from ingest_server.storage.files.staging import Staging, probe_folder
from ingest_server.storage.interface import Claim, Level

PARTS = "parts"
LOST = "lost+found"
ELSEWHERE = "published.elsewhere"
"""Says that published files are on another volume, which may not be mounted one day."""

KEPT_BACK_INODES = 1000
"""No new upload takes them: what has begun needs folders to be published in."""

_FILE_MODE = 0o640
_SUFFIX = ".part"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


class FileBlobs(PublishedFiles):
    """The bytes of uploads: ``parts/`` while they arrive, ``published/`` when verified.

    Hands share the file of an upload, so one process has the folder at a time: it keeps a superseded
    writer from writing.
    """

    def __init__(self, data_dir: Path, disk: Disk = UNWATCHED) -> None:
        super().__init__(data_dir, disk)
        self._parts = self._lock = -1
        self._counts_inodes = False
        self._staging: Staging | None = None
        self._root = -1
        self._held: HeldFolder | None = None
        self._moved: dict[str, tuple[str, str | None]] = {}
        """Where copies of uploads were moved that are still in ``parts/``, and what they are."""

    def prepare(self) -> None:
        """Make the folders and hold them; nobody else may use them until `close`.

        Raises:
            StorageError: another server holds them, or they cannot be used; nothing is held then.
        """
        try:
            self.data_dir.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._lock = os.open(
                self.data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in (PARTS, PUBLISHED, LOST):
                (self.data_dir / name).mkdir(mode=FOLDER_MODE, exist_ok=True)
            sync(self.data_dir)
            with suppress(PermissionError):  # it was there before, then
                sync(self.data_dir.absolute().parent)
            self._parts = os.open(self.data_dir / PARTS, OPEN_FOLDER)
            self._published = os.open(self.data_dir / PUBLISHED, OPEN_FOLDER)
            self._find_a_way()
            self._root = os.open(self.data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._held = HeldFolder(
                self._root,
                PUBLISHED,
                FOLDER_MODE,
                self._published,
                is_volume=self._staging is not None,
            )
            # One that says 0 and has just taken a file does not count them.
            self._counts_inodes = os.fstatvfs(self._parts).f_favail > 0
        except BlockingIOError as error:
            self.close()
            raise StorageError(
                f"another ingest-server is using {self.data_dir}: stop it, or use another data_dir"
            ) from error
        except OSError as error:
            self.close()
            what_to_do = (
                ". Its disk has no room for one more file: make room, then start again"
                if error.errno in {errno.ENOSPC, errno.EDQUOT}
                else ""
            )
            raise StorageError(f"cannot use {self.data_dir}: {error}{what_to_do}") from error
        except StorageError:
            self.close()
            raise

    def _find_a_way(self) -> None:
        """Publish by links where there are some, else by copies.

        Raises:
            StorageError: neither can be, or the volume of the published files is not mounted.
        """
        elsewhere = self.data_dir / ELSEWHERE
        is_elsewhere = os.fstat(self._parts).st_dev != os.fstat(self._published).st_dev
        has_links = self._try_a_link()
        if elsewhere.exists() and (has_links or not is_elsewhere):
            raise StorageError(
                f"{self.data_dir / PUBLISHED} was another volume and is none now: mount it. If that "
                f"is to stay, move its files here and remove {elsewhere}"
            )
        if has_links:
            return
        try:
            self._staging = Staging(self._published, self._disk)
        except OSError as error:
            raise StorageError(
                f"{self.data_dir / PUBLISHED} cannot be published to: hard links from "
                f"{self.data_dir / PARTS} lead nowhere there, and a copy cannot be moved into place "
                f"without replacing anything ({error.strerror or error})"
            ) from error
        if is_elsewhere:
            elsewhere.touch(mode=_FILE_MODE)
            sync(self.data_dir)
        log.info("published.copied", path=str(self.data_dir / PUBLISHED))

    def _try_a_link(self) -> bool:
        """Return whether a part file can get a published name."""
        name = f"{_SUFFIX}-{secrets.token_hex(8)}"
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._parts))
        try:
            os.link(name, name, src_dir_fd=self._parts, dst_dir_fd=self._published)
            os.unlink(name, dir_fd=self._published)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return False
        finally:
            os.unlink(name, dir_fd=self._parts)
        return True

    def close(self) -> None:
        if self._staging is not None:
            self._staging.close()
            self._staging = None
        self._held = None
        for fd in (self._parts, self._published, self._root, self._lock):
            if fd >= 0:
                os.close(fd)
        self._parts = self._published = self._root = self._lock = -1

    @contextmanager
    def _walk(
        self, parents: Sequence[str], *, make: bool, far: bool = False
    ) -> Iterator[list[int]]:
        if self._held is not None:  # a command beside the server holds none for long
            self._held.renew()
        with super()._walk(parents, make=make, far=far) as folders:
            yield folders

    def probe(self) -> None:
        probe_folder(self._parts, f"{_SUFFIX}-{secrets.token_hex(8)}")
        if self._held is not None:  # what stands in for the folder refuses each file at its end
            self._held.renew()
        if self._staging is not None:
            self._staging.probe()

    def free_bytes(self) -> int:
        """Return the bytes that an ordinary process may still write."""
        found = os.fstatvfs(self._parts)
        free = found.f_bavail * found.f_frsize
        return free if self._staging is None else min(free, self._staging.free_bytes())

    def files(self) -> Level | None:
        """Return what the inodes allow, where the file system has a number of them."""
        if not self._counts_inodes:
            return None
        found = os.fstatvfs(self._parts)
        kept_back = min(KEPT_BACK_INODES, found.f_files // 20)
        return Level(found.f_files - found.f_favail, found.f_files - kept_back)

    def create_part(self, upload_id: str, place: str = "") -> None:  # noqa: ARG002 # it is one place
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._disk.timed("create"):
            fd = os.open(upload_id + _SUFFIX, flags, _FILE_MODE, dir_fd=self._parts)
            try:
                with suppress(PermissionError):  # not every file system has modes
                    os.fchmod(fd, _FILE_MODE)  # whatever the umask is
                os.fsync(fd)
            finally:
                os.close(fd)
            os.fsync(self._parts)

    @contextmanager
    def lend_path(self, upload_id: str) -> Iterator[Path]:
        yield self.data_dir.absolute() / PARTS / f"{upload_id}{_SUFFIX}"

    def open_part(self, upload_id: str, claim: Claim | None = None) -> PartFile:  # noqa: ARG002 # every hand writes to the one file
        return self._opened(upload_id)

    def _opened(self, upload_id: str) -> PartFile:
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
        if self._staging is not None:
            self._moved.pop(upload_id, None)
            self._staging.drop(upload_id)

    def part_ids(self) -> list[str]:
        return [
            name.removesuffix(_SUFFIX) for name in os.listdir(self._parts) if name.endswith(_SUFFIX)
        ]

    def part_length(self, upload_id: str) -> int | None:
        found = stat_of(upload_id + _SUFFIX, self._parts)
        return None if found is None else found.st_size

    def set_aside(self, upload_id: str) -> None:
        """Move a part file to ``lost+found``: a person decides about it."""
        name = upload_id + _SUFFIX
        lost = self.data_dir / LOST / name
        if lost.exists():
            lost = lost.with_name(f"{name}.{secrets.token_hex(4)}")
        os.rename(name, lost, src_dir_fd=self._parts)
        sync(lost.parent)

    def look(self) -> None:
        """Hold the files beside a running server, which goes on holding the folder; until `close`.

        Raises:
            StorageError: there is no such folder, or it cannot be read.
        """
        try:
            self._published = os.open(self.data_dir / PUBLISHED, OPEN_FOLDER)
            self._parts = os.open(self.data_dir / PARTS, OPEN_FOLDER)
        except FileNotFoundError as error:
            self.close()
            raise StorageError(
                f"nothing was ever stored in {self.data_dir}: no server has run with it"
            ) from error
        except OSError as error:
            self.close()
            raise StorageError(f"cannot read {self.data_dir}: {error}") from error

    @property
    def can_publish_again(self) -> bool:
        return self._staging is None

    def stage(self, upload_id: str, is_stopping: Callable[[], bool]) -> PartFile | None:
        if self._staging is None:
            return None
        with closing(self._opened(upload_id)) as part:
            return self._staging.take(upload_id, part, is_stopping)

    def sync_published(self, target: str) -> None:
        super().sync_published(target)
        if self._staging is not None:
            self._staging.sync()

    def announce(self, target: str, *, is_late: bool = False) -> None:
        """As `Blobs` says; a copy that was moved to its name has been announced by that, once."""
        if is_late or self._staging is None or not self._staging.is_told_by_move:
            super().announce(target)

    def publish(self, upload_id: str, target: str, about: Mapping[str, str] | None = None) -> bool:  # noqa: ARG002 # a file has no place for it
        """As `Blobs` says: the part file gets one more name, or the copy of it that was staged its."""
        staging, part = self._staging, upload_id + _SUFFIX
        if staging is not None:
            if self._moved.get(upload_id) == (target, self.identity(target)):
                return True
            is_ours = self._put(
                target,
                lambda folder, leaf: staging.move(upload_id, folder, leaf),
                lambda: staging.has(upload_id),
            )
            if is_ours:
                self._moved[upload_id] = target, self.identity(target)
            return is_ours
        return self._link(part, self._parts, target) or self.is_published_as(upload_id, target)

    def is_published_as(self, upload_id: str, target: str) -> bool:
        there = self._stat_published(target)
        ours = stat_of(upload_id + _SUFFIX, self._parts)
        return (
            there is not None
            and ours is not None
            and (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        )
