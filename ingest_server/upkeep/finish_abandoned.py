"""Uploads that are complete with their last byte, and that nobody has completed.

Where a protocol has a request that completes, its client sends that again. Where the last byte is
all there is, nobody may ever ask again: the client has sent everything, and the server died, or its
disk failed, before it could complete the upload; or before it had put a file of tus together from its
parts. So a start looks for such uploads, and each hour does, and completes them one after the other,
beside the requests. Of any protocol it goes on with what was about to be published: that was verified
and decided.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog

from ingest_server.core.errors import Refused
from ingest_server.core.record import UNFINISHED, State, UploadRecord
from ingest_server.protocols import ietf, tus_final
from ingest_server.protocols.compat import django_init_end
from ingest_server.protocols.compat.dialect import CompatSettings, DialectAnswer, DialectUploads
from ingest_server.protocols.resumable import IETF, PROTOCOL, TUS, Resumable
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.service import UploadService
from upload_protocol.messages import CompleteRequest

DJANGO_INIT = "django-init"
LOOK_EVERY_S = 3600.0
_PROTOCOLS = frozenset({TUS, IETF, DJANGO_INIT})

log = structlog.get_logger()


class AbandonedUploads:
    """Completes what was left whole."""

    def __init__(self, receiver: UploadService, settings: CompatSettings) -> None:
        self._receiver = receiver
        self._django_init = DialectUploads(DJANGO_INIT, receiver, settings)
        self._resumable = Resumable(receiver)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # Not looked at again before the next start: each look may read a large file.
        self._refused: set[str] = set()

    def start(self) -> int:
        """Look once, before requests come, and complete in the background what was found.

        Returns:
            How many there may be.

        Raises:
            Refused: the database failed.
        """
        found = self.look()
        self._thread = threading.Thread(
            target=self._work, args=(found,), name="left-whole", daemon=True
        )
        self._thread.start()
        return len(found)

    def stop(self) -> None:
        """Begin nothing any more; what runs is ended by the receiver's stop."""
        self._stopping.set()

    def join(self, timeout_s: float = 5.0) -> None:
        """Wait until nothing is at work; with `stop` before it, soon."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self, found: Sequence[UploadRecord]) -> None:
        self.finish(found)
        while not self._stopping.wait(LOOK_EVERY_S):
            try:
                self.finish(self.look())
            except Refused as refused:
                log.warning("housekeeping.failed", error=str(refused))

    def look(self) -> list[UploadRecord]:
        """Return what may have to be completed, and was not refused before.

        Raises:
            Refused: the database failed.
        """
        return [one for one in self._receiver.records.in_states(*UNFINISHED) if self._is_due(one)]

    def _is_due(self, record: UploadRecord) -> bool:
        if record.state is State.PUBLISHING:
            return True
        has_all = record.received.prefix == record.length or tus_final.is_unfilled(record)
        return (
            record.metadata.get(PROTOCOL) in _PROTOCOLS
            and has_all
            and record.id not in self._refused
        )

    def finish(self, found: Sequence[UploadRecord]) -> None:
        """Complete what is to be completed of these, one after the other."""
        for record in found:
            if self._stopping.is_set():
                return
            try:
                self._finish(record)
            except Refused as refused:  # its client is told when it asks
                if self._stopping.is_set():
                    return
                if refused.code != "server-busy":  # which ends by itself
                    self._refused.add(record.id)
                error = str(refused)
                log.warning(
                    "upload.unpublished", upload_id=record.id, device_id=record.device, error=error
                )
            except Exception:
                if self._stopping.is_set():
                    return
                self._refused.add(record.id)
                log.exception("upload.unpublished", upload_id=record.id)

    def _finish(self, record: UploadRecord) -> None:
        """Complete the upload if its client has said all that it has to say."""
        protocol = record.metadata.get(PROTOCOL)
        is_decided = record.state is State.PUBLISHING
        if tus_final.is_unfilled(record):
            tus_final.put_together(self._resumable, record, wait_s=LOOK_EVERY_S)
        elif is_decided or (protocol == TUS and tus_final.ends_by_itself(record)):
            self._complete(record)
        elif protocol == IETF:
            if ietf.was_to_end(record, self._receiver.records.notes(record.id)):
                self._complete(record)
        elif protocol == DJANGO_INIT and django_init_end.was_to_end(self._django_init, record):
            try:
                django_init_end.finish(self._django_init, record)
            except DialectAnswer:
                error = "its final hash is wrong: it has failed, as its client is told"
                log.warning("upload.unpublished", upload_id=record.id, error=error)

    def _complete(self, record: UploadRecord) -> None:
        request = CompleteRequest(record.length or 0, None)
        try:
            while isinstance(self._receiver.complete(None, record.id, request), Pending):
                if self._stopping.is_set():
                    return
        except Refused as refused:
            if refused.code == "digest-mismatch":
                # Neither protocol can send a byte again: its client must not find it whole.
                self._receiver.abort(None, record.id)
            raise
