"""Uploads as records, for protocols that tell more of them than `UploadStatus` does.

Some protocols keep facts that the core has no use for: which chunks a client counts, in what order
it numbered them. Those are *notes*: durable key and value pairs beside an upload. Bytes are never
known by a note only; a note is written after what it speaks of has been recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from ingest_server.core import events
from ingest_server.core.errors import Refused, disk_refusals, refused_by_disk
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.interface import Part, Transaction
from ingest_server.uploads.hashing import PendingHash, catch_up, sums_of
from ingest_server.uploads.live import Live
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

T = TypeVar("T")

FIRST_PAGE = 4
"""Records that are read first; twice as many each time, up to `PAGE`. Who asks may want no more."""
PAGE = 16
"""Records that are held at once: one may be long, and nobody knows how long before it is read."""
MOST_PAUSE_S = 0.1

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes of one upload, while a transaction changes them."""

    _transaction: Transaction
    _upload_id: str

    def get(self, key: str) -> str | None:
        return self._transaction.note(self._upload_id, key)

    def all(self) -> dict[str, str]:
        return self._transaction.notes(self._upload_id)

    def set(self, key: str, value: str) -> None:
        self._transaction.write_note(self._upload_id, key, value)


class Records:
    """Reads uploads as they are committed, and keeps notes about them."""

    def __init__(self, store: UploadStore) -> None:
        self._store = store
        self._state = store.state

    def find(self, device: str | None, upload_id: str) -> UploadRecord:
        """Return an upload in whatever state; another device's is as unknown as none at all.

        Raises:
            Refused: there is none.
        """
        return self._store.find(device, upload_id)

    def of_device(self, device: str) -> Iterator[UploadRecord]:
        """Yield every upload of *device*, in the order of their ids."""
        return self.each(device)

    def each(
        self, device: str | None, state: str | None = None, after: str | None = None
    ) -> Iterator[UploadRecord]:
        """Yield uploads in the order of their ids, from after *after*; None: any."""
        now_s, pause = self._store.clock.now_s, self._store.stopping.wait
        limit = FIRST_PAGE
        while True:
            began_s = now_s()
            found = self._state.page(device=device, state=state, after=after, limit=limit)
            yield from found
            if len(found) < limit:
                return
            limit = min(2 * limit, PAGE)
            after = found[-1].id
            # A long list computes without a pause, and other requests need the interpreter too.
            pause(min(now_s() - began_s, MOST_PAUSE_S))

    def in_states(self, *states: State) -> list[UploadRecord]:
        """Return every upload that is in one of *states*."""
        return self._state.in_states(*states)

    def note(self, upload_id: str, key: str) -> str | None:
        return self._state.note(upload_id, key)

    def notes(self, upload_id: str) -> dict[str, str]:
        return self._state.notes(upload_id)

    def write_note(self, upload_id: str, key: str, value: str) -> None:
        """Keep a note; durable on return."""
        self._state.run(lambda transaction: transaction.write_note(upload_id, key, value))

    def change_note(self, upload_id: str, key: str, change: Callable[[str | None], str]) -> str:
        """Replace a note by what *change* makes of it, alone among all requests; durable."""

        def job(transaction: Transaction) -> str:
            value = change(transaction.note(upload_id, key))
            transaction.write_note(upload_id, key, value)
            return value

        return self._state.run(job)

    def change_notes(self, upload_id: str, change: Callable[[Notes], T]) -> T:
        """Change several notes of an upload, all or nothing, alone among all requests; durable."""
        return self._state.run(lambda transaction: change(Notes(transaction, upload_id)))

    def mismatched(self, upload_id: str) -> None:
        """Tell that stored bytes are not what a checksum of the client's own kind says; durable.

        For protocols that compare by themselves what `complete` does not know of.
        """

        def tell(transaction: Transaction) -> None:
            record = transaction.find(upload_id)
            if record is not None:
                transaction.tell(events.FAILED, record, code="digest-mismatch")

        self._state.run(tell)
        self._store.observer.digest_mismatched("file")
        log.warning("upload.mismatched", upload_id=upload_id)

    def sum_up(
        self, upload_id: str, runs: Iterable[tuple[int, int]], *hashers: hashlib._Hash
    ) -> None:
        """Let *hashers* see stored bytes: *runs* of a start and a length, one after the other.

        Raises:
            Refused: they are gone, the disk fails, or the server stops, which is looked for
                between reads.
        """
        with self.reading(upload_id) as part, disk_refusals():
            sums_of(part, runs, self._store.is_stopping, *hashers)

    def sum_up_published(self, receipt: Receipt, *hashers: hashlib._Hash) -> None:
        """Let *hashers* see the bytes of a published file.

        Raises:
            Refused: it is gone, the disk fails, or the server stops.
        """
        with (
            disk_refusals(),
            closing(self._store.blobs.open_published(receipt.published_as)) as part,
        ):
            runs = [(0, receipt.length)]
            sums_of(part, runs, self._store.is_stopping, *hashers)

    def ask_for(self, upload_id: str, algorithm: str) -> None:
        """Have the hash of *algorithm*, one of hashlib's, computed as the bytes come."""
        with self._store.live.hold(upload_id) as live:
            live.running.ask_for(algorithm)

    def running(
        self, upload_id: str, length: int, algorithm: str
    ) -> tuple[Digest, hashlib._Hash] | None:
        """Return the SHA-256 and the other hash of the first *length* bytes, all of them recorded.

        Only what was not hashed as it came is read. None: the other was not asked for in time.

        Raises:
            Refused: the bytes are gone, the disk fails, or the server stops.
        """
        with self._store.live.hold(upload_id) as live:
            live.running.agree(self._state.get(upload_id).rewrites)
            known = live.running.follow()
            if known is None or known.other(algorithm) is None:
                return None
            trail = self._caught_up(live, upload_id, length)
            other = None if trail is None else trail.other(algorithm)
            return None if trail is None or other is None else (trail.digest(), other)

    def sha_256(self, upload_id: str, length: int) -> Digest:
        """Return the SHA-256 of the first *length* bytes, all of them recorded.

        Only what was not hashed as it came is read.

        Raises:
            Refused: the bytes are gone or replaced meanwhile, the disk fails, or the server stops.
        """
        with self._store.live.hold(upload_id) as live:
            live.running.agree(self._state.get(upload_id).rewrites)
            trail = self._caught_up(live, upload_id, length) if length else PendingHash.new(0)
        if trail is None:
            self._store.refuse_when_stopping()
            raise Refused("server-busy", "bytes are being replaced", retry_after_s=1)
        return trail.digest()

    def _caught_up(self, live: Live, upload_id: str, length: int) -> PendingHash | None:
        with self.reading(upload_id) as part, disk_refusals():
            catch_up(live.running, part, lambda: length, self._store.is_stopping)
        return live.running.follow(length)

    @contextmanager
    def reading(self, upload_id: str) -> Iterator[Part]:
        """Lend the bytes of an upload that is not published yet, to be read.

        Raises:
            Refused: they are gone, or the disk fails.
        """
        try:
            part = self._store.blobs.open_part(upload_id)
        except FileNotFoundError as error:
            raise Refused("upload-not-found", "the upload has no bytes any more") from error
        except OSError as error:
            raise refused_by_disk(error) from error
        try:
            yield part
        finally:
            part.close()
