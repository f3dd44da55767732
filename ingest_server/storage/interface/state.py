"""The store of facts: rows of uploads, events and tokens, read by name and written in transactions.

Errors: a store that cannot do its work raises `StateFailed`, a `Refused` that says what the client is
told (full, busy, broken); nothing of the transaction is stored then, and it may be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord, not_found, refuse_unless_open
from ingest_server.storage.interface.access import Access
from ingest_server.storage.interface.fleet import FleetStore
from ingest_server.storage.interface.groups import Groups
from ingest_server.storage.interface.keeping import STEP
from ingest_server.storage.interface.outbox import Outbox
from ingest_server.storage.interface.rows import (
    Census,
    Claim,
    DeviceSummary,
    Lease,
    OpenUpload,
    Reading,
    RecordingPage,
    RecordingQuery,
    Removal,
    Sizes,
    Summary,
)
from ingest_server.storage.interface.users import Users
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt
from upload_protocol.ranges import ByteRange

T = TypeVar("T")


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


class Transaction(Queries, Protocol):
    """Reads and writes of one job; durable when the transaction around it has committed.

    Not to be used after the job has returned.
    """

    def get_claimed(self, claim: Claim) -> UploadRecord:
        """Return an open upload whose bytes may still be recorded under *claim*.

        Raises:
            Refused: ``superseded`` by a newer claim, or the upload takes no bytes.
        """
        if not self.is_standing(claim):
            raise Refused("superseded", "a newer request sends these bytes")
        return self.get_open(claim.upload_id)

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

        Where that ends an upload without a file of its own, the oldest such uploads beyond
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
        ...

    def tell_of_device(self, kind: str, device: str, data: dict[str, Any]) -> None:
        """Add an event about a device itself; told by the outbox once this is committed."""
        ...

    def tell_of_server(self, kind: str, data: dict[str, Any], *, subject: str = "storage") -> None:
        """Put an event into the outbox that is no device's."""
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


class StateStore(Queries, Protocol):
    """The facts of one server, or of all replicas of one; used from any thread."""

    outbox: Outbox
    access: Access
    users: Users
    groups: Groups

    is_shared: bool = False
    """Whether other servers may work on it at the same time."""
    is_elsewhere: bool = False
    """Whether a program of its own has the facts, which may be away for a while."""

    def take_folder(self, folder_id: str) -> bool:  # noqa: ARG002 # most lie where the bytes do
        """Tie the facts to the store of bytes that they are about, if they are tied to none.

        Returns:
            Whether they are about that one.
        """
        return True

    def run(self, job: Job[T]) -> T:
        """Return what *job* returned, once that is durable; raise what it raised.

        Raises:
            Refused: the store is closed, or failed.
        """
        ...

    def submit(self, job: Job[T]) -> Future[T]:
        """Run *job* without waiting; its future ends after the commit, or with why it failed.

        Raises:
            Refused: the store is closed.
        """
        ...

    def submit_along(self, job: Job[T]) -> Future[T]:
        """Let *job* go along with the next commit, whoever's it is; it costs no commit of its own.

        For what may be lost. The last commit before `close` returns takes it along too.
        """
        ...

    def begin_run(self) -> None:
        """Begin a run of a service, before its first claim; durable on return.

        Bytes that an earlier run wrote and never recorded have older epochs than any of this one.
        """
        ...

    def claim(self, upload_id: str, where: ByteRange) -> tuple[Claim, UploadRecord]:
        """Take over a range: older claims that intersect *where* record nothing any more.

        True for every service over this store on return. Nothing need be durable: a crash of the
        store may let go of all claims, never bring one back. One call costs no durable commit.

        Returns:
            The claim, and the upload as it is from then on; nobody else changes what is recorded
            in *where* while the claim stands.

        Raises:
            Refused: ``upload-not-found``.
        """
        ...

    def end_claims(self, upload_id: str) -> None:
        """Let go of every claim of an upload; as visible, and as cheap, as `claim`."""
        ...

    def release(self, claim: Claim) -> None:
        """Let go of one claim: its writer is through. Never raises."""
        ...

    def take_lease(self, name: str, for_s: float) -> Lease | None:
        """Return the right to do what is called *name* alone; None: somebody else has it.

        It ends *for_s* seconds from now by the store's own clock, unless it is kept, and then the next who
        asks gets it. A store of one process has no use for that: a crash ends all that it gave.
        """
        ...

    def keep_lease(self, lease: Lease, for_s: float) -> bool:
        """Have a lease for so long from now on; false: somebody else has got it."""
        ...

    def end_lease(self, lease: Lease) -> None:
        """Let go of a lease. Never raises."""
        ...

    def keep_reserve(self) -> bool:
        """Hold some of the disk back for when it is full; returns whether there is some.

        Given up by itself where a job would fail otherwise. Never raises.
        """
        ...

    def sizes(self) -> Sizes:
        """Return what the store takes up; cheap enough to be asked each few seconds."""
        ...

    def cut_log(self) -> None:
        """Make the log small again, as far as no reader holds it; nobody waits for this.

        Raises:
            Refused: it failed.
        """
        ...

    def held_by(self) -> list[str]:
        """Return, in words, the programs that read the store and may hold its log. Never raises."""
        ...

    def give_back(self) -> int:
        """Give some of what is free inside the store back to the disk, in a short transaction.

        Returns:
            How many bytes; 0: there are none, or this store only uses them again itself.

        Raises:
            Refused: it failed.
        """
        ...

    def check(self, now_s: Callable[[], float]) -> None:  # noqa: ARG002
        """Look for damage, as far as a start may wait for that; some stores see to it themselves.

        Args:
            now_s: a clock that never goes back.

        Raises:
            StateError: it is damaged, or cannot be read.
        """
        return

    def keep_copy(
        self,
        uptime_s: float,  # noqa: ARG002 # by default another one's business
        wall_s: float,  # noqa: ARG002
        least_free: int,  # noqa: ARG002
        wait: Callable[[float], bool],  # noqa: ARG002
    ) -> bool:
        """Keep a copy of everything where one is due, each day; returns whether one was made.

        Never raises: what fails is logged, and tried again later.

        Args:
            uptime_s, wall_s: now, by either clock.
            least_free: bytes that stay free on the disk.
            wait: rests that long between two pieces; true once the server stops.
        """
        return False

    def lead(self, name: str, for_s: float) -> int | None:  # noqa: ARG002
        """Let the server *name* lead for so long, if it does already or nobody does; durable on return.

        Returns:
            The term, greater for each leader that is another than the one before; None: another leads.

        Raises:
            Refused: the store failed.
        """
        return 1

    def resign(self, name: str) -> None:
        """Let *name* lead no more.

        Raises:
            Refused: the store failed.
        """

    def fenced(self, term: int) -> AbstractContextManager[None]:  # noqa: ARG002
        """Refuse what this thread commits, as long as the body runs, once another term has begun."""
        return nullcontext()

    def fleet(self, *, closes: bool = False) -> FleetStore | None:  # noqa: ARG002
        """Return what keeps devices beside their uploads; None: that is somewhere else.

        Args:
            closes: whether its `close` closes this, too.
        """
        return None

    def commits(self) -> tuple[int, int]:
        """Return how many durable commits were made so far, and the jobs in them."""
        ...

    def close(self) -> None:
        """Commit what was submitted, refuse what comes later, let go. Repeatable."""
        ...

    def tell(self, kind: str, upload_id: str, **more: str) -> None:
        """Put an event about an upload into the outbox; durable on return."""

        def job(transaction: Transaction) -> None:
            record = transaction.find(upload_id)
            if record is not None:
                transaction.tell(kind, record, **more)

        self.run(job)
