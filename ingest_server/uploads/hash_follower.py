"""The running hash brought up to what is recorded, where requests came out of order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog

from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.uploads.hashing import catch_up
from ingest_server.uploads.store import UploadStore
from ingest_server.uploads.writers import Live

log = structlog.get_logger()


class HashFollower:
    """Reads stored bytes beside the requests, one upload at a time."""

    def __init__(self, store: UploadStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hash")

    def stop(self) -> None:
        """Wait for the catch-up that runs; it looks for the stop itself."""
        self._thread.shutdown(cancel_futures=True)

    def follow_later(self, record: UploadRecord, live: Live) -> None:
        """Let the running hash catch up in the background where requests came out of order."""
        if record.received.prefix <= live.running.upto or live.is_followed:
            return
        live.is_followed = True

        def follow() -> None:
            try:
                with self._store.live.hold(record.id) as held:
                    part = self._store.blobs.open_part(record.id)
                    try:
                        catch_up(held.running, part, recorded_upto, self._store.is_stopping)
                    finally:
                        part.close()
            except (OSError, Refused) as error:
                log.debug("hash.abandoned", upload_id=record.id, error=str(error))
            finally:
                live.is_followed = False

        def recorded_upto() -> int:
            return self._store.find(None, record.id).received.prefix

        with suppress(RuntimeError):  # the pool is closed: completing reads it all the same
            self._thread.submit(follow)
