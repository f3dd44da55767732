"""What is written to a store of facts: in a transaction, all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ingest_server.core import events
from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.storage.interface.keeping import STEP
from ingest_server.storage.interface.queries import Queries
from ingest_server.storage.interface.rows import Claim, Lease, Reading, Removal

T = TypeVar("T")


class Transaction(Queries, Protocol):
    """Reads and writes of one job; durable when the transaction around it has committed.

    Not to be used after the job has returned.
    """

    def get_claimed(self, claim: Claim) -> UploadRecord:
        """Return an open upload whose bytes may still be recorded under *claim*.

        Raises:
            Refused: ``superseded`` by a newer claim, or the upload takes no bytes.
        """
        record = self.get_open(claim.upload_id)
        if not self.is_standing(claim):
            raise Refused("superseded", "a newer request sends these bytes")
        return record

    def is_standing(self, claim: Claim) -> bool:
        """Whether *claim* was neither superseded nor let go; stays true until the commit."""
        ...

    def is_leased(self, lease: Lease) -> bool:
        """Whether nobody else has got *lease* meanwhile; stays true until the commit."""
        ...

    def insert(self, record: UploadRecord) -> None:
        """Add an upload, with the event that tells of it.

        Raises:
            StateFailed: its id, or its device and key, are there already.
        """
        ...

    def save(self, record: UploadRecord) -> None:
        """Write what can change in the life of an upload, with the event that tells of its end.

        With its end, its claims end. Where that ends an upload without a file of its own, the oldest such uploads beyond
        `KEPT_ENDED`, or `KEPT_REPEATS`, are forgotten.
        """
        ...

    def mark_removed(self, record: UploadRecord, removal: Removal, removed_at: str) -> None:
        """Give up a published file: it is told, and its name is to go once this commits.

        Uploads that were given its receipt are marked with it.
        """
        ...

    def end_removal(self, path: str) -> None: ...

    def save_reading(self, reading: Reading) -> None:
        """Keep what a published file had; the newest counts."""
        ...

    def tell(self, kind: str, record: UploadRecord, **more: str) -> None:
        """Put an event into the outbox: it is true, and will be told, once this commits."""
        data = {**events.upload_data(record), **more}
        self.write_event(kind, subject=record.id, device=record.device, data=data)

    def tell_of_device(self, kind: str, device: str, data: dict[str, Any]) -> str:
        """As `tell`, about a device itself; returns the id of the event."""
        return self.write_event(kind, subject=device, device=device, data=data)

    def tell_of_server(self, kind: str, data: dict[str, Any], *, subject: str = "storage") -> None:
        """As `tell`, about what is no device's."""
        self.write_event(kind, subject=subject, device="", data=data)

    def write_event(self, kind: str, *, subject: str, device: str, data: dict[str, Any]) -> str:
        """Put an event into the outbox; as `tell`. Returns its id."""
        ...

    def forget_events(self, before_s: float, limit: int = STEP) -> int:
        """Delete events from before uptime *before_s* that nobody waits for any more.

        The newest that tells of the disk stays: it is how the disk was when last looked at.

        Returns:
            How many; fewer than *limit*: there are no more.
        """
        ...

    def note_contact(self, device: str, contact_at: str, program: str) -> None:
        """Write down that a device was here, and what its program calls itself."""
        ...

    def write_note(self, upload_id: str, key: str, value: str) -> None: ...

    def set_uptime(self, seconds: float) -> None: ...

    def forget_ended(self, before_s: float, limit: int = STEP) -> int:
        """Delete uploads that left no file and ended before uptime *before_s*, with notes.

        Returns:
            How many; fewer than *limit*: there are no more.
        """
        ...

    def forget_removed(self, before_s: float, removed_by: str, limit: int = STEP) -> int:
        """Delete uploads whose published file the server has removed, long ago by either clock.

        Args:
            before_s: uptime before which they were complete.
            removed_by: when the file was given up at the latest.
        """
        ...

    def forget_texts(
        self, before_s: float, *, after: str, limit: int = STEP
    ) -> tuple[int, str | None]:
        """Delete notes and metadata of uploads that were complete before uptime *before_s*.

        All else of them stays: metadata that says which dialect made the upload, and notes that are one
        of their kind. Those of which there are many have a colon in their keys.

        Args:
            after: id of the last one that was looked at.

        Returns:
            How many had any, and where to go on; None: that was the last.
        """
        ...

    def forget_contacts(self, before: str) -> int:
        """Delete when devices were here that have neither a token nor an upload any more."""
        ...


Job = Callable[[Transaction], T]
"""What runs inside a transaction: it reads and writes, waits for nothing, and may be run alone or
beside others in one transaction. When it raises, nothing that it wrote is stored."""
