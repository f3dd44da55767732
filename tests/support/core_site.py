"""The server's core without HTTP: bodies that misbehave, a clock by hand, disks that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import pytest

from ingest_server.auth.audit import Audit, Unaudited
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.base.settings import ReceiverSettings
from ingest_server.storage.interface import Part, StateStore
from ingest_server.storage.memory.state import MemoryState
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.upkeep.housekeeper import Housekeeper
from ingest_server.upkeep.readiness import Readiness
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.publish import BeforePublish, allow_all
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore
from tests.support.faulty_blobs import Faulty, FaultyFiles, FaultyMemory, FaultyParts
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
        self.at = 0
        self.interrupted = threading.Event()

    def readinto(self, buffer: memoryview) -> int:
        if self.interrupted.is_set():
            raise ConnectionAbortedError("interrupted")
        if self.at == len(self._data):
            return self.at_end()
        size = min(len(buffer), len(self._data) - self.at, self._step)
        buffer[:size] = self._data[self.at : self.at + size]
        self.at += size
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


T = TypeVar("T")


class Stores(Protocol):
    """Both stores of a site, for its first run and for each that follows."""

    def open(self) -> tuple[StateStore, Faulty]: ...


class Files:
    """What `ingest-server` chooses: SQLite and files below one folder."""

    def __init__(
        self,
        data_dir: Path,
        state: type[SqliteState] = SqliteState,
        blobs: type[FaultyFiles] = FaultyFiles,
    ) -> None:
        self.data_dir = data_dir
        self._state = state
        self._blobs = blobs

    def open(self) -> tuple[SqliteState, Faulty]:
        """Return them as the next run of a server has them."""
        return self._state.open(self.data_dir / "state.db"), self._blobs(self.data_dir)


class Memory:
    """Both stores in memory; no test waits for a disk, and one run takes up what another left."""

    def __init__(self, blobs: Faulty | None = None) -> None:
        self._state: MemoryState | None = None
        self._blobs = blobs or FaultyMemory()

    def open(self) -> tuple[MemoryState, Faulty]:
        """Return them as the next run of a server has them."""
        before = None if self._state is None else self._state.tables
        self._state = MemoryState(before)
        self._blobs.fail.clear()
        return self._state, self._blobs


STORES: dict[str, Callable[[Path], Files | Memory]] = {
    "files": Files,
    "memory": lambda _: Memory(),
    "write-once": lambda _: Memory(FaultyParts(part_bytes=256 * 1024)),
}

on_disk = pytest.mark.parametrize("site", ["files"], indirect=True)
"""For a test that looks at files, or at what only they do."""
on_all_stores = pytest.mark.parametrize("site", list(STORES), indirect=True)
"""For a law of the server, whatever it stores with."""


class CoreSite:
    """A receiver over its stores, and short words for what tests do with it."""

    def __init__(
        self,
        stores: Stores | Path,
        *,
        observer: Observer = NOBODY,
        audit: Audit | None = None,
        before_publish: BeforePublish = allow_all,
        **settings: object,
    ) -> None:
        """Start over *stores*, or files below that folder."""
        self._stores = Files(stores) if isinstance(stores, Path) else stores
        if isinstance(self._stores, Files):
            self.data_dir = self._stores.data_dir
        self.observer = observer
        self.audit = audit or Unaudited()
        self.before_publish = before_publish
        self.clock = HandClock()
        usual: dict[str, Any] = {"min_free_bytes": 0, "verify_wait_s": 30.0, "folder_lead_s": 0.0}
        self.settings = ReceiverSettings(**{**usual, **settings})
        self.start()

    def start(self) -> None:
        self.state: StateStore
        self.blobs: Faulty
        self.state, self.blobs = self._stores.open()
        self.store = UploadStore.open(self.state, self.blobs, self.clock, observer=self.observer)
        self.receiver = UploadService(
            self.store, self.settings, audit=self.audit, before_publish=self.before_publish
        )
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
        readiness = Readiness(self.state, self.blobs, self.clock)
        return readiness.codes(self.receiver.settings.min_free_bytes)

    def create(self, name: str = "a.mp4", length: int | None = None, **more: Any) -> str:
        status, _ = self.receiver.creation.create(
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
        give_up_s = time.monotonic() + 60
        while isinstance(receipt := self.receiver.complete("cam", upload_id, request), Pending):
            assert (
                time.monotonic() < give_up_s
            )  # a busy machine verifies for longer than one request
        assert isinstance(receipt, Receipt)
        return receipt

    def upload(self, data: bytes, name: str = "a.mp4") -> Receipt:
        upload_id = self.create(name, len(data))
        if data:
            self.put(upload_id, 0, data)
        return self.complete(upload_id, data)

    def stored(self, upload_id: str) -> bytes:
        return _whole(self.blobs.open_part(upload_id))

    def published(self) -> dict[str, bytes]:
        found: Any = super(Faulty, self.blobs)  # a test that looks is no step, and does not fail
        return {name: _whole(found.open_published(name)) for name in found.published_names()}


def _whole(hand: Part) -> bytes:
    try:
        return hand.pread(hand.length, 0)
    finally:
        hand.close()


class InThread(Generic[T]):
    """Runs something beside the test; `join` returns what it returned or raises what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._result.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self._error = error

    def join(self, timeout_s: float = 20) -> T:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError("still at work")
        if self._error is not None:
            raise self._error
        return self._result[0]
