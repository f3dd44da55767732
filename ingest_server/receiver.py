"""The one way in: body -> part file -> durable -> ranges recorded -> acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ingest_server.blobs.files import FileBlobs
from ingest_server.clock import Clock
from ingest_server.state.sqlite import SqliteState
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    Receipt,
    UploadStatus,
)

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


class Body(Protocol):
    """A request's body as bytes arrive."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of *buffer* with what has arrived; return how many bytes, at least 1.

        0 exactly when the declared length has been read in full.

        Raises:
            OSError: the body ended early or stalled; everything returned before is valid.
        """
        ...

    def interrupt(self) -> None:
        """Make a blocked or future `readinto` raise at once; from any thread, never blocks."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """What the operator chose. Sizes in bytes."""

    max_length: int | None = None
    max_open_uploads_per_device: int = 256
    min_free_bytes: int = GIB
    require_digest: bool = False
    idle_expiry_s: float = 14 * 86400
    seal_bytes: int = 8 * MIB
    seal_s: float = 2.0
    name_template: str = "{device}/{date}/{name}"
    read_bytes: int = 256 * KIB
    verify_wait_s: float = 5.0
    """How long `Receiver.complete` waits before it answers `Pending`."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Not verified yet: ask again after this."""

    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `Receiver.start` found and mended."""

    open_uploads: int = 0
    resumed: int = 0
    """Half verified or half published uploads that were taken up again."""
    strays: int = 0
    """Part files without an upload, moved to lost+found."""
    lost: int = 0
    """Uploads whose part file is gone; now failed."""


class Receiver:
    """The uploads of one data folder."""

    def __init__(
        self, state: SqliteState, blobs: FileBlobs, settings: ReceiverSettings, clock: Clock
    ) -> None:
        self.settings = settings
        self._state = state
        self._blobs = blobs
        self._clock = clock

    def start(self) -> Recovery:
        raise NotImplementedError

    def stop(self, timeout_s: float = 5.0) -> None:
        raise NotImplementedError

    def create(self, device: str, key: str, request: CreateRequest) -> tuple[UploadStatus, bool]:
        raise NotImplementedError

    def status(self, device: str | None, upload_id: str) -> UploadStatus:
        raise NotImplementedError

    def receive(
        self,
        device: str | None,
        upload_id: str,
        where: ContentRange,
        body: Body,
        digest: Digest | None = None,
    ) -> UploadStatus:
        raise NotImplementedError

    def blocks(
        self, device: str | None, upload_id: str, *, size: int, start: int, limit: int
    ) -> BlockDigests:
        raise NotImplementedError

    def complete(
        self, device: str | None, upload_id: str, request: CompleteRequest
    ) -> Receipt | Pending:
        raise NotImplementedError

    def abort(self, device: str | None, upload_id: str) -> UploadStatus:
        raise NotImplementedError

    def listing(
        self, device: str | None, *, state: str | None, after: str | None, limit: int
    ) -> tuple[list[UploadStatus], str | None]:
        raise NotImplementedError

    def expire(self) -> int:
        raise NotImplementedError

    def readiness(self) -> list[str]:
        raise NotImplementedError
