"""The store of facts: rows of uploads, events and tokens, read by name and written in transactions.

Errors: a store that cannot do its work raises `StateFailed`, a `Refused` that says what the client is
told (full, busy, broken); nothing of the transaction is stored then, and it may be run again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from ingest_server.core.record import UploadRecord
from ingest_server.storage.interface.access import Access
from ingest_server.storage.interface.fleet import FleetStore
from ingest_server.storage.interface.groups import Groups
from ingest_server.storage.interface.outbox import Outbox
from ingest_server.storage.interface.queries import Queries
from ingest_server.storage.interface.rows import Claim, Lease, Sizes
from ingest_server.storage.interface.transaction import Job, Transaction
from ingest_server.storage.interface.users import Users
from upload_protocol.ranges import ByteRange

T = TypeVar("T")


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

    def tie_folder(self, folder_id: str) -> str:
        """Tie the facts to the store of bytes that they are about, if they are tied to none.

        Returns:
            Which one they are about; of those that lie where the bytes do, this one.
        """
        return folder_id

    def take_folder(self, folder_id: str) -> bool:
        """Tie them as `tie_folder` does; return whether they are about that one."""
        return self.tie_folder(folder_id) == folder_id

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

    def count_claims(self, upload_id: str) -> int:
        """Return how many claims of an upload stand."""
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

    def resign(self, name: str) -> None:  # noqa: ARG002
        """Let *name* lead no more.

        Raises:
            Refused: the store failed.
        """
        return

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
