"""Part files and published files as in `parts`, with what the disk takes and refuses told."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest_server.base.observer import Observer
from ingest_server.storage.files.parts import FileBlobs, PartFile

Timer = Callable[[], float]


class ObservedPart(PartFile):
    """A part file whose syncs are timed and whose faults are counted."""

    def __init__(self, fd: int, observer: Observer, now_s: Timer) -> None:
        super().__init__(fd)
        self._observer = observer
        self._now_s = now_s

    def pread(self, length: int, offset: int) -> bytes:
        with _failures(self._observer, "read"):
            return super().pread(length, offset)

    def pwrite(self, data: memoryview, offset: int) -> None:
        # Not timed: it ends in the page cache, and there are four of them in a megabyte.
        with _failures(self._observer, "write"):
            super().pwrite(data, offset)

    def sync(self) -> None:
        with _timed(self._observer, "sync", self._now_s):
            super().sync()


class ObservedBlobs(FileBlobs):
    """`FileBlobs` that tells an observer."""

    def __init__(self, data_dir: Path, observer: Observer, now_s: Timer) -> None:
        super().__init__(data_dir)
        self._observer = observer
        self._now_s = now_s

    def create_part(self, upload_id: str) -> None:
        with _timed(self._observer, "create", self._now_s):
            super().create_part(upload_id)

    def open_part(self, upload_id: str) -> ObservedPart:
        # A part that is gone is no fault of the disk: not counted.
        return ObservedPart(self._part_fd(upload_id), self._observer, self._now_s)

    def sync_target(self, target: str) -> None:
        with _timed(self._observer, "publish", self._now_s):
            super().sync_target(target)


@contextmanager
def _failures(observer: Observer, operation: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        observer.storage_failed(operation, errno.errorcode.get(error.errno or 0, "unknown"))
        raise


@contextmanager
def _timed(observer: Observer, operation: str, now_s: Timer) -> Iterator[None]:
    started_s = now_s()
    with _failures(observer, operation):
        yield
    observer.storage_used(operation, now_s() - started_s)
