"""Uploads that their client, or the operator, gives up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from ingest_server.auth.audit import Audit
from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import State, UploadRecord, refuse_unless_open
from ingest_server.storage.interface import Blobs, StateStore, Transaction
from ingest_server.uploads.store import UploadStore, drop_part

log = structlog.get_logger()


class Aborting:
    """Ends uploads that are given up, and notes who did."""

    def __init__(self, store: UploadStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    def abort(self, device: str | None, upload_id: str) -> UploadRecord:
        """End an upload; ``aborted`` is durable before its bytes are removed. Repeatable.

        Returns:
            The upload as it is then.

        Raises:
            Refused: it is unknown, has ended otherwise, or is being published.
        """
        store = self._store
        with self._audit.action("upload.abort", device, upload_id):
            record = store.find(device, upload_id)
            end = _aborting(record.id, store.uptime.now_s())
            with store.live.hold(record.id) as live, live.deciding:
                with live.closed(Refused("upload-aborted", "the upload was aborted")):
                    kept, is_new = store.state.run(end)
                drop_part(store.blobs, record.id)
            if is_new:
                store.observer.upload_aborted()
            log.info("upload.aborted", upload_id=record.id, device_id=record.device)
            return kept


def abort_beside(state: StateStore, blobs: Blobs, upload_id: str) -> tuple[UploadRecord, bool]:
    """End an upload as an operator wants it, beside a server that may be at work on it.

    ``aborted`` is durable before the bytes go. A request that brings more is refused at its next seal, and
    what it wrote until then is in a file without a name.

    Returns:
        The upload, and whether it was ended now.

    Raises:
        Refused: there is no such upload, it has ended otherwise, or it is being published.
    """
    kept, is_new = state.run(_aborting(upload_id, state.uptime_s()))
    with disk_refusals():
        blobs.remove_part(upload_id)
    return kept, is_new


def _aborting(upload_id: str, now_s: float) -> Callable[[Transaction], tuple[UploadRecord, bool]]:
    def end(transaction: Transaction) -> tuple[UploadRecord, bool]:
        found = transaction.get(upload_id)
        if found.state is State.ABORTED:
            return found, False
        refuse_unless_open(found)
        kept = replace(found, state=State.ABORTED, touched_s=now_s)
        transaction.save(kept)
        return kept, True

    return end
