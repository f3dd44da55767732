"""What finishes uploads in the background: verifying and publishing, and reading what is published.

Whoever has little to read does not wait behind who has much: each has threads of its own, and devices
take turns. What is asked for is decided in `completion`; requests wait for it or come again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

import structlog

from ingest_server.base.settings import MIB
from ingest_server.core.errors import Refused
from ingest_server.core.record import FINISHING, State, UploadRecord
from ingest_server.uploads.fair_pool import FairPool
from ingest_server.uploads.live import Live
from ingest_server.uploads.publish import Publisher
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

log = structlog.get_logger()

PUBLISHERS = 4
"""Uploads at once whose bytes were hashed as they came; half of them may be one device's."""
QUICK_BYTES = 8 * MIB
"""What may be read by those: a moment's work. Who has more to read waits among the readers."""


class Finishing:
    """At most one verification and one reading at a time for each upload."""

    def __init__(self, store: UploadStore, publisher: Publisher, readers: FairPool) -> None:
        """Join the parts; *readers* are for whoever has much to read, and are not stopped here."""
        self._store = store
        self._state = store.state
        self._live = store.live
        self._publisher = publisher
        self._readers = readers
        self._publishers = FairPool(PUBLISHERS, PUBLISHERS // 2, "publish")

    def stop(self) -> None:
        """Wait for what runs (it looks for the stop itself); what waits goes on at next start."""
        self._publishers.stop()

    def finish(self, record: UploadRecord) -> Future[Receipt]:
        """Start verifying; called under ``deciding`` or before requests come."""
        with self._live.hold(record.id) as live:
            live.verification = self._later(
                record.device,
                record.id,
                lambda: self._publisher.finish(record, live),
                reads=self._to_read(record, live),
            )
            return live.verification

    def _to_read(self, record: UploadRecord, live: Live) -> int:
        """Return how many bytes may have to be read to finish an upload."""
        length = record.length or 0
        live.running.agree(record.rewrites)
        hashed = 0 if record.state is State.PUBLISHING else live.running.upto
        is_read_whole = length > QUICK_BYTES and (
            record.sha_512 is not None  # another hash than the running one
            or not self._store.blobs.can_publish_again  # a copy is published, and read back
            or self._publisher.earlier.may_be_read(record, live)
        )
        return length if is_read_whole else length - hashed

    def resume(self, record: UploadRecord) -> None:
        """Go on with an upload that an earlier run left half done.

        Verified or half published, its whole file is read first: requests do not wait for that.
        """
        with self._live.hold(record.id) as live, live.deciding:
            if unended(live.verification) is None:
                self.finish(record)

    def resume_abandoned(self) -> None:
        """Go on with what a replica that died was finishing; the others have it."""
        if self._state.is_elsewhere:
            for record in self._state.in_states(*FINISHING):
                self.resume(record)

    def begin_reading(self, upload_id: str, receipt: Receipt) -> None:
        """Let the published file of a complete upload be read, once."""
        with self._live.hold(upload_id) as live, live.deciding:
            if unended(live.reading) is None:
                self.read_again(upload_id, receipt, live)

    def read_again(self, upload_id: str, receipt: Receipt, live: Live) -> Future[Receipt]:
        """Start reading the published file of a complete upload; called under ``deciding``."""
        live.reading = self._later(
            receipt.device,
            upload_id,
            lambda: self._publisher.earlier.read_again(receipt),
            reads=receipt.length,
        )
        return live.reading

    def find_published(
        self, record: UploadRecord, length: int, claimed: Digest, missing: Refused
    ) -> Future[Receipt]:
        """Start looking for published bytes that the upload need not bring; called under ``deciding``.

        The upload stays open and takes bytes meanwhile. What is found completes it; if nothing is,
        it ends as *missing*.
        """
        with self._live.hold(record.id) as live:

            def claim() -> Receipt:
                source = self._publisher.source(record, live, length, claimed)
                with live.deciding:
                    found = self._store.find(None, record.id)
                    if source is None or found.state is not State.OPEN:
                        raise missing
                    with live.closed(Refused("not-open", "the file is published already")):
                        published = self._publisher.publish_from(found, live, source)
                if published is None:
                    raise missing
                return published

            live.reading = self._later(record.device, record.id, claim, reads=length)
            return live.reading

    def _later(
        self, device: str, upload_id: str, work: Callable[[], Receipt], *, reads: int
    ) -> Future[Receipt]:
        """Let *work* run in the background; *reads*: bytes that it may have to read first."""
        self._live.pin(upload_id)  # until the work is done, and before it begins
        has_begun = threading.Event()

        def pinned() -> Receipt:
            has_begun.set()
            try:
                return work()
            except Refused:
                raise
            except Exception:  # whoever asked may have gone by now: then nobody reads it
                log.exception("upload.unfinished", upload_id=upload_id)
                raise
            finally:
                self._live.unpin(upload_id)

        pool = self._publishers if reads <= QUICK_BYTES else self._readers
        try:
            future = pool.submit(device, pinned)
        except Refused:
            self._live.unpin(upload_id)
            raise
        future.add_done_callback(
            lambda _: None if has_begun.is_set() else self._live.unpin(upload_id)
        )
        return future


def unended(work: Future[Receipt] | None) -> Future[Receipt] | None:
    """Return *work* unless there is none, or it has ended."""
    return None if work is None or work.done() else work
