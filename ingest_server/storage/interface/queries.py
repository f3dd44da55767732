"""What a store of facts is asked, by name. A query reads and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from ingest_server.core.record import State, UploadRecord, not_found, refuse_unless_open
from ingest_server.storage.interface.rows import (
    Census,
    DeviceSummary,
    OpenUpload,
    Reading,
    RecordingPage,
    RecordingQuery,
    Removal,
    Summary,
)
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


class Queries(Protocol):
    """Reads. Every answer is of committed rows or, inside a transaction, of its own."""

    def get(self, upload_id: str) -> UploadRecord:
        """Return an upload in whatever state.

        Raises:
            Refused: ``upload-not-found``.
        """
        record = self.find(upload_id)
        if record is None:
            raise not_found()
        return record

    def get_open(self, upload_id: str) -> UploadRecord:
        """Return an upload that takes bytes; refuses one that does not, and says why."""
        record = self.get(upload_id)
        refuse_unless_open(record)
        return record

    def find(self, upload_id: str) -> UploadRecord | None: ...

    def device_of(self, upload_id: str) -> str | None:
        """Return whose an upload is, without the rest of its record; None: there is none."""
        ...

    def state_of(self, upload_id: str) -> State | None:
        """Return where an upload stands, without the rest of its record; None: there is none."""
        ...

    def route_of(self, upload_id: str) -> str | None:
        """Return where an upload is to go, or has gone: its ``route``; None: there is no such upload."""
        ...

    def routes(self) -> list[str]:
        """Return each route that an upload has, in order; not the empty one."""
        ...

    def on_route(self, route: str) -> tuple[int, int]:
        """Return how many uploads of a route are unfinished, and how many have a file that is not removed."""
        ...

    def by_key(self, device: str, key: str) -> UploadRecord | None:
        """Return the upload that *device* made with this idempotency key."""
        ...

    def published(self, record: UploadRecord, length: int, digest: Digest) -> list[UploadRecord]:
        """Return complete uploads of these bytes by the device of *record*, not removed; 16 at most.

        Those of its name and folder first: the newest, since an old file may have changed, in the
        order in which they were made; then of its name in other folders; then those of other names.
        """
        ...

    def has_published(self, device: str, length: int) -> bool:
        """Whether a complete upload of the device, not removed, has just so many bytes."""
        ...

    def completed(self, device: str, lengths: Sequence[int]) -> list[tuple[int, str]]:
        """Return length and name of each complete upload of the device that has one of *lengths*.

        Those too whose file was removed since; in no order.

        Args:
            lengths: 500 at most.
        """
        ...

    def reading(self, upload_id: str) -> Reading | None:
        """Return what the file that this upload published had when it was last read whole."""
        ...

    def is_published_over(self, receipt: Receipt) -> bool:
        """Whether a later upload was, or is about to be, published at the receipt's path."""
        record = self.find(receipt.upload_id)
        return record is not None and self.is_used_since(receipt.published_as, record)

    def receipts(self, path: str | None = None) -> list[Receipt]:
        """Return the receipts of all published files, or of those at *path*; of repeated uploads the first one's.

        Without those that `[retention]` removed.
        """
        ...

    def is_being_published(self, target: str, *, besides: str) -> bool:
        """Whether another upload than *besides* is about to get this published name."""
        ...

    def has_target(self, target: str, *, besides: str = "") -> bool:
        """Whether an upload, not *besides*, was or is being published at *target*."""
        ...

    def is_used_since(self, target: str, record: UploadRecord) -> bool:
        """Whether a later upload than *record* was, or is about to be, published there."""
        ...

    def newest_verified_at(self, *, since_s: float) -> str | None:
        """Return the newest time at which a file was verified since uptime *since_s*."""
        ...

    def due_for_removal(
        self, verified_by: str, ended_by_s: float, *, after: tuple[str, str], limit: int
    ) -> list[tuple[UploadRecord, Receipt]]:
        """Return the uploads whose file is old by either clock, oldest first.

        Those that published it, not those that were given the receipt of an earlier one.

        Args:
            after: time of verification and id of the last one that was seen.
        """
        ...

    def removals(self) -> list[Removal]:
        """Return what is marked as removed and was not finished."""
        ...

    def open_count(self, device: str) -> int:
        """Return how many uploads of *device* are open."""
        ...

    def open_uploads(self, device: str) -> list[OpenUpload]:
        """Return the open uploads of *device*, those first that got no byte for longest."""
        ...

    def reserved_bytes(self, device: str, *, besides: str) -> int:
        """Return what unfinished uploads of *device* will hold, without the upload *besides*.

        One whose length is not known counts as far as its bytes reach.
        """
        ...

    def page(
        self, *, device: str | None, state: str | None, after: str | None, limit: int
    ) -> list[UploadRecord]:
        """Return uploads in the order of their ids, from after *after*; None: any."""
        ...

    def summaries(
        self,
        *,
        device: str | None,
        state: str | None,
        since: str,
        after: tuple[str, str] | None,
        limit: int,
    ) -> list[Summary]:
        """Return uploads that were created from *since* on, in the order of their creation.

        Args:
            after: time of creation and id of the one before the first; None: the newest *limit*.
        """
        ...

    def recordings(self, wanted: RecordingQuery) -> RecordingPage:
        """Return recordings that were published and not removed, the newest first."""
        ...

    def devices(self) -> list[DeviceSummary]:
        """Return all devices, in the order of their ids."""
        ...

    def in_states(self, *states: State) -> list[UploadRecord]:
        """Return every upload that is in one of *states*, all as of one moment.

        One that moves from one of them to another meanwhile is among them.
        """
        ...

    def idle_open(self, before_s: float) -> list[str]:
        """Return ids of open uploads that got no byte since uptime *before_s*."""
        ...

    def note(self, upload_id: str, key: str) -> str | None:
        """Return what a protocol wrote down beside an upload."""
        ...

    def notes(self, upload_id: str) -> dict[str, str]: ...

    def census(self) -> Census:
        """Count the uploads that have not ended."""
        ...

    def corruptions_after(self, seq: int) -> list[int]:
        """Return the numbers of events after *seq* that tell of a published file gone bad."""
        ...

    def last_of(self, kinds: AbstractSet[str], *, subject: str | None = None) -> str | None:
        """Return the type of the newest event that is of one of these *kinds*.

        Args:
            subject: about that; None: about anything.
        """
        ...

    def uptime_s(self) -> float:
        """Return how long the server had run, over all its runs, when that was last stored."""
        ...
