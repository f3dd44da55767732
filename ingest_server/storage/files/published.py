"""The folder of published files, below one data folder.

Every name is opened relative to a folder that is held open, without following links: what stands
there, or in an upload's name, cannot lead out of it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from edge_host.durable import sync
from ingest_server.core.names import STAGING, numbered
from ingest_server.storage.files.observed import UNWATCHED, Disk
from ingest_server.storage.files.part_file import PartFile
from ingest_server.storage.files.twins import Twins
from ingest_server.storage.interface import Blobs

PUBLISHED = "published"
QUARANTINE = "quarantine"
FOLDER_MODE = 0o750
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_NOT_OURS = {errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENODEV}
"""Why a link, or what else a person put in a file's place, cannot be opened."""


NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Another volume, or a file system without hard links."""
_NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
TRIES = 20
"""How often a folder is made again that somebody clears away as empty before there is a name in it."""


class PublishedFiles(Blobs):
    """What is published, whatever the bytes came from: ``published/``, and ``quarantine/``."""

    def __init__(self, data_dir: Path, disk: Disk = UNWATCHED) -> None:
        self.data_dir = data_dir
        self._disk = disk
        self._published = -1
        self._twins = Twins()

    @contextmanager
    def lend_published(self, target: str) -> Iterator[Path]:
        yield self.data_dir.absolute() / PUBLISHED / target

    def open_published(self, target: str) -> PartFile:
        *parents, leaf = target.split("/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with self._walk(parents, make=False) as folders:
            return PartFile(os.open(leaf, flags, dir_fd=folders[-1]))

    def published_names(self) -> Iterator[str]:
        root = self.data_dir / PUBLISHED
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(one for one in folders if Path(folder) != root or one != STAGING)
            for name in sorted(names):
                yield str((Path(folder) / name).relative_to(root))

    def copy_to_quarantine(self, target: str) -> str:
        """Give a published file a name in quarantine too; returned relative to the data folder.

        Raises:
            OSError: it has none there; under ``published/`` it is as it was.
        """
        (self.data_dir / QUARANTINE).mkdir(mode=FOLDER_MODE, exist_ok=True)
        *parents, leaf = target.split("/")
        for name in numbered(target):
            there = self.data_dir / QUARANTINE / name
            there.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            with self._walk(parents, make=False) as folders, suppress(FileExistsError):
                try:
                    os.link(leaf, there, src_dir_fd=folders[-1], follow_symlinks=False)
                except OSError as error:
                    if error.errno not in NO_LINKS:
                        raise
                    _copy_file(leaf, folders[-1], there)
                for folder in (there.parent, *there.parent.relative_to(self.data_dir).parents):
                    sync(self.data_dir / folder)
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
        with closing(PartFile(os.open(leaf, flags, dir_fd=folder))) as part:
            return part.identity()

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

    def respelled(self, target: str) -> str:
        *parents, leaf = target.split("/")
        spelled: list[str] = []
        for name in parents:
            try:
                with self._walk(spelled, make=False) as folders:
                    is_there = stat_of(name, folders[-1]) is not None
                    twin = None if is_there else self._twins.of(folders[-1], name)
            except (FileNotFoundError, NotADirectoryError):
                twin = None
            spelled.append(twin or name)
        return "/".join([*spelled, leaf])

    def has_twin(self, target: str) -> bool:
        *parents, leaf = target.split("/")
        try:
            with self._walk(parents, make=False) as folders:
                return self._twins.of(folders[-1], leaf) is not None
        except (FileNotFoundError, NotADirectoryError):
            return False

    def may_have_twin(self, target: str) -> bool:
        *parents, leaf = target.split("/")
        try:
            with self._walk(parents, make=False) as folders:
                is_there = stat_of(leaf, folders[-1]) is not None
                return not is_there and self._twins.is_likely(folders[-1], leaf)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def publish_again(self, source: str, target: str) -> bool:
        *source_parents, source_leaf = source.split("/")
        with self._walk(source_parents, make=False) as there:
            return self._link(source_leaf, there[-1], target)

    def _link(self, name: str, folder: int, target: str) -> bool:
        """Give a file one more name below the published folder; False where somebody has it."""

        def link(to: int, leaf: str) -> None:
            os.link(name, leaf, src_dir_fd=folder, dst_dir_fd=to, follow_symlinks=False)

        return self._put(target, link, lambda: stat_of(name, folder) is not None)

    def _put(
        self, target: str, put: Callable[[int, str], None], is_there: Callable[[], bool]
    ) -> bool:
        """Have a file put where *target* is; False where somebody has that name.

        Args:
            put: does it, given the folder and the name in it.
            is_there: whether there is still something to be put.
        """
        *parents, leaf = target.split("/")
        for left in reversed(range(TRIES)):
            try:
                with self._walk(parents, make=True) as folders:
                    put(folders[-1], leaf)
                    self._twins.added(folders[-1], leaf)
            except FileExistsError:
                return False
            except FileNotFoundError:
                if not left or not is_there():
                    raise
            else:
                return True
        raise AssertionError("the last try returns or raises")

    def make_way(self, target: str) -> bool:
        *parents, _leaf = target.split("/")
        try:
            with self._walk(parents, make=False, far=True) as folders:
                is_there = len(folders) == 1 + len(parents)
            with self._walk(parents, make=True):
                return not is_there
        except OSError:  # publishing will tell
            return False

    def sync_published(self, target: str) -> None:
        """As `Blobs` says; where a folder was taken away, that is durable, as far as it is ours."""
        *parents, _leaf = target.split("/")
        with self._disk.timed("publish"), self._walk(parents, make=False, far=True) as folders:
            # All of them, not only those made now: a crash may lie between making and this.
            for fd in reversed(folders):
                os.fsync(fd)

    def announce(self, target: str, *, is_late: bool = False) -> None:  # noqa: ARG002 # a link tells nobody
        """As `Blobs` says: inotify tells of a file that was open for writing when it is closed."""
        *parents, leaf = target.split("/")
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        # A program that watches is not what the file is there for: it may be gone by now, too.
        with suppress(OSError), self._walk(parents, make=False) as folders:
            found = stat_of(leaf, folders[-1])
            if found is not None and stat.S_ISREG(found.st_mode):
                os.close(os.open(leaf, flags, dir_fd=folders[-1]))

    @contextmanager
    def _walk(
        self, parents: Sequence[str], *, make: bool, far: bool = False
    ) -> Iterator[list[int]]:
        """Open each folder below the one before; the first is the published folder.

        Args:
            make: where there is none.
            far: as far as they are there.
        """
        folders = [os.dup(self._published)]
        try:
            for name in parents:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, FOLDER_MODE, dir_fd=folders[-1])
                        self._twins.added(folders[-1], name)
                try:
                    folders.append(os.open(name, OPEN_FOLDER, dir_fd=folders[-1]))
                except OSError as error:
                    if far and error.errno in _NO_FOLDER:
                        break
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
                return stat_of(leaf, folders[-1])
        except (FileNotFoundError, NotADirectoryError):
            return None


def stat_of(name: str, folder: int) -> os.stat_result | None:
    """Return what stands at *name* itself, no link followed; None: nothing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _copy_file(leaf: str, folder: int, to: Path) -> None:
    """Write the bytes of a file a second time, as a new file; durable on return."""
    with closing(
        PartFile(os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder))
    ) as source:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        copy = PartFile(os.open(to, flags, 0o640))
        try:
            copy.copy_from(source, source.length, start=0, offset=0)
            copy.sync()
        except BaseException:
            to.unlink()
            raise
        finally:
            copy.close()
