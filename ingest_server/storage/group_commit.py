"""Group commit: one connection, one transaction for all that waits.

With a transaction each, 32 uploads at once reach a third of the disk's rate; with this one, 84 %.

Whoever finds nobody committing and nobody waiting commits by itself: the way to another thread and
back costs a single upload more than what it saves. All others wait for the committer's thread,
which takes them together once the connection is free.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from ingest_server.core.errors import Refused
from ingest_server.storage.sqlite.queries import Transaction

T = TypeVar("T")
Job = Callable[[Transaction], Any]

MAX_BATCH = 256
"""Jobs in one transaction: more threads than this don't wait at once."""


class Writing(Protocol):
    """The write side of a state store."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def savepoint(self) -> Any: ...
    def close(self) -> None: ...
    @property
    def in_transaction(self) -> bool: ...


class Committer:
    """Runs jobs against the database; what a job did is durable when its future has a result."""

    def __init__(self, writer: Writing) -> None:
        self._writer = writer
        self._queue: SimpleQueue[tuple[Job, Future[Any]] | None] = SimpleQueue()
        # Guards `_stopping` together with putting: no job may follow the end mark.
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """Held by the one thread that uses the connection."""
        self._along: deque[tuple[Job, Future[Any]]] = deque()
        self._is_crowded = False
        """Whether the last transaction had several jobs: then it pays to wait for others."""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="committer", daemon=True)
        self.commits = 0
        self.jobs = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commit what waits, then close the connection; later jobs are refused."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._queue.put(None)
        if self._thread.ident is None:
            self._writer.close()
        else:
            self._thread.join()

    def submit(self, job: Callable[[Transaction], T]) -> Future[T]:
        """Queue *job*; its future ends after the commit that holds it, or with why it failed.

        Raises:
            Refused: the server is stopping.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._stopping:
                raise Refused("stopping", "the server is stopping", retry_after_s=5)
            self._queue.put((job, future))
        return future

    def submit_along(self, job: Callable[[Transaction], T]) -> Future[T]:
        """Let *job* go along with the next commit, whoever's it is; it costs no commit of its own.

        For what may be lost. The last commit before `stop` returns takes it along too.
        """
        future: Future[T] = Future()
        self._along.append((job, future))
        return future

    def run(self, job: Callable[[Transaction], T]) -> T:
        """Return what *job* returned, once that is durable; raise what it raised.

        Raises:
            Refused: the server is stopping.
        """
        with self._lock:
            # What has the turn before `stop` is waited for there.
            is_mine = (
                not self._stopping
                and not self._is_crowded
                and self._queue.empty()
                and self._turn.acquire(blocking=False)
            )
        if not is_mine:
            return self.submit(job).result()
        future: Future[T] = Future()
        try:
            tell = self._commit([(job, future)])
        finally:
            self._turn.release()
        tell()
        return future.result()

    def _work(self) -> None:
        try:
            while True:
                first = self._queue.get()
                with self._turn:
                    # Now, not before: what came while another thread had the turn goes along.
                    batch, is_last = self._drain(first)
                    tell = self._commit(batch) if batch or (is_last and self._along) else None
                if tell is not None:
                    tell()
                if is_last:
                    return
        finally:
            with self._turn:
                self._writer.close()

    def _drain(
        self, found: tuple[Job, Future[Any]] | None
    ) -> tuple[list[tuple[Job, Future[Any]]], bool]:
        batch: list[tuple[Job, Future[Any]]] = []
        while found is not None:
            batch.append(found)
            if len(batch) == MAX_BATCH:
                return batch, False
            try:
                found = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[tuple[Job, Future[Any]]]) -> Callable[[], None]:
        """Run the jobs in one transaction; what is returned tells those who wait how it ended.

        That is for when the turn is free again: who is told may have the next job.
        """
        is_crowded = len(batch) > 1
        batch = [*(self._along.popleft() for _ in range(len(self._along))), *batch]
        done: list[tuple[Future[Any], Any]] = []
        failed: list[tuple[Future[Any], BaseException]] = []
        try:
            self._writer.begin()
            for job, future in batch:
                try:
                    with self._writer.savepoint() as transaction:
                        result = job(transaction)
                except Exception as error:
                    failed.append((future, error))
                    if not self._writer.in_transaction:
                        raise  # SQLite has rolled back the whole transaction by itself
                else:
                    done.append((future, result))
            self._writer.commit()
        except Exception as error:  # noqa: BLE001 - handed to everyone who waits
            self._writer.rollback()
            told = {id(future) for future, _ in failed}
            failed.extend((future, error) for _, future in batch if id(future) not in told)
            done.clear()
        self.commits += 1
        self.jobs += len(batch)
        self._is_crowded = is_crowded

        def tell() -> None:
            for future, result in done:
                future.set_result(result)
            for future, why in failed:
                future.set_exception(why)

        return tell
