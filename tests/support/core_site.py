"""The server's core without HTTP: bodies that misbehave, a clock by hand, disks that fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from ingest_server.auth.audit import Audit, Unaudited
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.base.settings import ReceiverSettings
from ingest_server.storage.files.parts import FileBlobs, PartFile
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.upkeep.housekeeper import Housekeeper
from ingest_server.upkeep.readiness import Readiness
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest, Receipt, UploadStatus
from upload_protocol.ranges import ByteRange

_keys = count(1)


def new_key() -> str:
    return f"test-key-{next(_keys):016d}"


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now_utc(self) -> datetime:
        return datetime(2026, 11, 21, 10, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def now_s(self) -> float:
        return self.seconds


class BytesBody:
    """All of it there at once, handed out in pieces of at most *step* bytes."""

    def __init__(self, data: bytes, step: int = 1 << 20) -> None:
        self._data = data
        self._step = step
        self._at = 0
        self.interrupted = threading.Event()

    def readinto(self, buffer: memoryview) -> int:
        if self.interrupted.is_set():
            raise ConnectionAbortedError("interrupted")
        if self._at == len(self._data):
            return self.at_end()
        size = min(len(buffer), len(self._data) - self._at, self._step)
        buffer[:size] = self._data[self._at : self._at + size]
        self._at += size
        return size

    def at_end(self) -> int:
        return 0

    def interrupt(self) -> None:
        self.interrupted.set()


class BrokenBody(BytesBody):
    """Breaks off after its data."""

    def __init__(self, data: bytes, error: OSError, step: int = 1 << 20) -> None:
        super().__init__(data, step)
        self._error = error

    def at_end(self) -> int:
        raise self._error


class HangingBody(BytesBody):
    """Goes silent after its data, as a half-open connection does; only `interrupt` ends it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.silent = threading.Event()

    def at_end(self) -> int:
        self.silent.set()
        if not self.interrupted.wait(20):
            raise AssertionError("nobody interrupted a dead connection")
        raise ConnectionAbortedError("interrupted")


class FaultyPart(PartFile):
    def __init__(self, fd: int, blobs: FaultyBlobs) -> None:
        super().__init__(fd)
        self._blobs = blobs

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._blobs.step("pwrite")
        super().pwrite(data, offset)

    def write_out(self, length: int, offset: int) -> None:
        self._blobs.step("write_out")
        super().write_out(length, offset)

    def sync(self) -> None:
        self._blobs.step("sync")
        super().sync()


class FaultyBlobs(FileBlobs):
    """Real files; ``fail[step]`` is called before each step and may raise."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.fail: dict[str, Callable[[], None]] = {}
        self.seen: list[str] = []
        self.free: int | None = None
        """Bytes that the disk has left; None: as many as it really has."""

    def free_bytes(self) -> int:
        return super().free_bytes() if self.free is None else self.free

    def step(self, name: str) -> None:
        self.seen.append(name)
        if name in self.fail:
            self.fail[name]()

    def open_part(self, upload_id: str) -> PartFile:
        self.step("open")
        part = super().open_part(upload_id)
        return FaultyPart(part._fd, self)

    def open_published(self, target: str) -> PartFile:
        self.step("read published")
        return super().open_published(target)

    def link(self, upload_id: str, target: str) -> bool:
        self.step("before link")
        made = super().link(upload_id, target)
        self.step("after link")
        return made

    def sync_target(self, target: str) -> None:
        super().sync_target(target)
        self.step("after folders")

    def remove_part(self, upload_id: str) -> None:
        self.step("before unlink")
        super().remove_part(upload_id)


def failing(error: BaseException, *, after: int = 0) -> Callable[[], None]:
    """Raise *error* at each call, the first *after* calls spared."""
    calls = count()

    def fail() -> None:
        if next(calls) >= after:
            raise error

    return fail


class CoreSite:
    """A receiver over a folder, and short words for what tests do with it."""

    def __init__(
        self,
        data_dir: Path,
        *,
        observer: Observer = NOBODY,
        audit: Audit | None = None,
        state: type[SqliteState] = SqliteState,
        **settings: object,
    ) -> None:
        self.data_dir = data_dir
        self.observer = observer
        self.audit = audit or Unaudited()
        self._state_type = state
        self.clock = HandClock()
        self.settings = ReceiverSettings(**{"min_free_bytes": 0, "verify_wait_s": 30.0, **settings})
        self.start()

    def start(self) -> None:
        self.blobs = FaultyBlobs(self.data_dir)
        self.state = self._state_type.open(self.data_dir / "state.db")
        self.store = UploadStore.open(self.state, self.blobs, self.clock, observer=self.observer)
        self.receiver = UploadService(self.store, self.settings, audit=self.audit)
        self.housekeeper = Housekeeper(self.store, self.receiver, self.audit)
        self.recovery = self.housekeeper.recover()
        self.housekeeper.start()

    def stop(self) -> None:
        self.receiver.stop()
        self.housekeeper.stop()
        self.store.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def readiness(self) -> list[str]:
        readiness = Readiness(self.store.committer, self.blobs, self.clock)
        return readiness.codes(self.receiver.settings.min_free_bytes)

    def create(self, name: str = "a.mp4", length: int | None = None, **more: object) -> str:
        status, _ = self.receiver.create(
            "cam", new_key(), CreateRequest(name, length=length, **more)
        )
        return status.id

    def put(
        self,
        upload_id: str,
        start: int,
        data: bytes,
        *,
        body: BytesBody | None = None,
        total: int | None = None,
        stop: int | None = None,
        digest: Digest | None = None,
    ) -> UploadStatus:
        where = ByteRange(start, start + len(data) if stop is None else stop)
        return self.receiver.receive(
            "cam", upload_id, ContentRange(where, total), body or BytesBody(data), digest
        )

    def received(self, upload_id: str) -> list[list[int]]:
        return self.receiver.status("cam", upload_id).received.to_pairs()

    def complete(self, upload_id: str, data: bytes, *, digest: bool = True) -> Receipt:
        request = CompleteRequest(len(data), Digest.of(data) if digest else None)
        receipt = self.receiver.complete("cam", upload_id, request)
        assert isinstance(receipt, Receipt)
        return receipt

    def upload(self, data: bytes, name: str = "a.mp4") -> Receipt:
        upload_id = self.create(name, len(data))
        if data:
            self.put(upload_id, 0, data)
        return self.complete(upload_id, data)

    def stored(self, upload_id: str) -> bytes:
        return (self.data_dir / "parts" / f"{upload_id}.part").read_bytes()

    def published(self) -> dict[str, bytes]:
        root = self.data_dir / "published"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }


class InThread:
    """Runs something beside the test; `join` returns what it returned or raises what it raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._result: object = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], object]) -> None:
        try:
            self._result = work()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self._error = error

    def join(self, timeout_s: float = 20) -> object:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError("still at work")
        if self._error is not None:
            raise self._error
        return self._result
