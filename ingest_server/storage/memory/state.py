"""The facts of a server in memory, shared by every service that is given the same object."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.storage.claims import Claims, OwnClaims
from ingest_server.storage.interface import Claim, Sizes
from ingest_server.storage.memory.access import MemoryAccess
from ingest_server.storage.memory.groups import MemoryGroups
from ingest_server.storage.memory.outbox import MemoryOutbox
from ingest_server.storage.memory.queries import MemoryQueries
from ingest_server.storage.memory.tables import Tables
from ingest_server.storage.memory.users import MemoryUsers
from ingest_server.storage.memory.writes import MemoryTransaction
from upload_protocol.ranges import ByteRange

T = TypeVar("T")


class MemoryState(MemoryQueries, OwnClaims):
    """Nothing of it outlives the process; ``durable`` means: committed."""

    is_shared = True

    def __init__(self, tables: Tables | None = None) -> None:
        """Begin with no rows, or with what another one had: as a restart finds them."""
        self.tables = tables or Tables()
        self._writing = threading.Lock()
        """Held while a job runs, and while a claim is taken: one follows the other."""
        self._claims = Claims()
        self._commits = 0
        self._is_closed = False
        self.outbox = MemoryOutbox(self)
        self.access = MemoryAccess(self)
        self.users = MemoryUsers(self)
        self.groups = MemoryGroups(self)

    def run(self, job: Callable[[MemoryTransaction], T]) -> T:
        """Return what *job* returned; all that it wrote is seen from then on, or none if it raised.

        Raises:
            Refused: ``stopping``: the store is closed.
        """
        with self._writing:
            if self._is_closed:
                raise Refused("stopping", "the server is stopping", retry_after_s=5)
            tables = self.tables.copy()
            result = job(MemoryTransaction(tables, self._claims))
            self.tables = tables
            self._commits += 1
            return result

    def submit(self, job: Callable[[MemoryTransaction], T]) -> Future[T]:
        """Run *job* at once; the future has what it returned or raised.

        Raises:
            Refused: ``stopping``: the store is closed.
        """
        if self._is_closed:
            raise Refused("stopping", "the server is stopping", retry_after_s=5)
        future: Future[T] = Future()
        try:
            future.set_result(self.run(job))
        except Exception as error:  # noqa: BLE001 - handed to who waits
            future.set_exception(error)
        return future

    def submit_along(self, job: Callable[[MemoryTransaction], T]) -> Future[T]:
        return self.submit(job)  # no commit waits for anything here

    def begin_run(self) -> None:
        def job(transaction: MemoryTransaction) -> int:
            transaction.tables.runs += 1
            return transaction.tables.runs

        self._claims.begin_run(self.run(job))

    def claim(self, upload_id: str, where: ByteRange) -> tuple[Claim, UploadRecord]:
        with self._writing:
            record = self.get(upload_id)
            claim, _ = self._claims.take(upload_id, where)
            return claim, record

    def end_claims(self, upload_id: str) -> None:
        with self._writing:
            self._claims.end(upload_id)

    def keep_reserve(self) -> bool:
        return True

    def sizes(self) -> Sizes:
        return Sizes()

    def cut_log(self) -> None:
        """There is none."""

    def held_by(self) -> list[str]:
        return []

    def give_back(self) -> int:
        return 0

    def commits(self) -> tuple[int, int]:
        return self._commits, self._commits

    def close(self) -> None:
        with self._writing:
            self._is_closed = True
