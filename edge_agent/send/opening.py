"""Getting an upload for a recording: a new one, the one it had, or one that needs no bytes.

Called with the lanes' lock held, which requests open.
"""

from __future__ import annotations

from dataclasses import replace

import structlog

from edge_agent.base.errors import UploadLostError
from edge_agent.core.upload import Event
from edge_agent.send.clients.interface import (
    CanAbort,
    CanAskByDigest,
    CanExtend,
    LaneClient,
    Pending,
)
from edge_agent.send.lane_services import LaneServices
from edge_agent.send.upload_progress import Flight, Unit, UploadProgress
from edge_agent.store.outbox import NewEvent
from upload_protocol.messages import CreateRequest, UploadStatus

log = structlog.get_logger()


class Opening:
    """What one lane asks before the first byte."""

    def __init__(self, client: LaneClient, shared: LaneServices) -> None:
        self._client = client
        self._store = shared.store
        self._lock = shared.lock
        self._descriptions = shared.descriptions
        self._digest_first = shared.digest_first

    def create(self, unit: Unit) -> Pending | None:
        """Create the upload, or take up the one that the recording had before it changed.

        Returns:
            How long to wait, if the server has to copy more of what the recording extends.
        """
        recording = unit.recording
        if recording.upload_id is not None:
            self._take_up(unit, recording.upload_id)
            return None
        key = recording.idempotency_key or self._store.give_key(recording)
        request = self._descriptions.of(recording)
        with self._lock.opened():
            answer = create_by(self._client, request, key)
        if isinstance(answer, Pending):
            return answer
        refuse_lost(answer)
        self._begin(unit, answer)
        return None

    def _take_up(self, unit: Unit, upload_id: str) -> None:
        recording = unit.recording
        with self._lock.opened():
            status = self._client.status(upload_id)
        if status.state == "open" and _may_become(status, recording.identity.length):
            # The server's bytes may be of the older content: completing will tell, repair mends.
            self._begin(unit, status)
            return
        if _holds_more(status, recording.identity.length):
            # After a power cut, say, that took the end of the file: the server alone has it.
            self._store.leave_upload(recording)
            log.warning(
                "upload.left_at_server",
                recording_id=recording.id,
                upload_id=upload_id,
                received_bytes=status.received.total,
                length_bytes=recording.identity.length,
            )
            return
        if status.state == "open" and isinstance(self._client, CanAbort):
            with self._lock.opened():
                self._client.abort_upload(upload_id)
        self._store.update(recording, upload_id=None, idempotency_key=None, digest=None)

    def _begin(self, unit: Unit, status: UploadStatus) -> None:
        recording = unit.recording
        told = {
            "file_id": recording.id,
            "name": recording.name,
            "length": recording.identity.length,
            "upload_id": status.id,
        }
        self._store.advance(
            recording,
            Event.UPLOAD_CREATED,
            upload_id=status.id,
            digest=None,
            tell=[NewEvent("file.started", told, subject=recording.id, is_low=True)],
        )
        log.info("upload.planned", recording_id=recording.id, upload_id=status.id)
        self.learn(unit.progress, status, unit.flight)

    def learn(self, progress: UploadProgress, status: UploadStatus, flight: Flight) -> int:
        """Take over what the server says of the upload; return how many bytes more it holds."""
        if status.ask_by_digest and progress.must_ask is None:
            is_possible = isinstance(self._client, CanAskByDigest)
            progress.must_ask = is_possible and self._digest_first.is_worth(
                progress.identity.length
            )
        if status.length is None and not progress.is_provisional:
            # Sent while it was written, or copied from what it was: what differs is found before the rest goes.
            progress.is_provisional = True
            progress.next_block = 0 if status.received else None
        return progress.learn_status(status, flight)

    def claim(self, unit: Unit) -> Pending | None:
        """Ask whether the server has the bytes of the digest, which is known; else they are sent.

        Returns:
            How long to wait, if it has to look first.
        """
        recording, progress = unit.recording, unit.progress
        key = recording.idempotency_key
        if key is None or not isinstance(self._client, CanAskByDigest):
            progress.must_ask = False
            return None
        digest = progress.digest.digest()
        request = replace(self._descriptions.of(recording), digest=digest)
        with self._lock.opened():
            answer = self._client.ask_by_digest(request, key)
        if isinstance(answer, Pending):
            return answer
        refuse_lost(answer)
        progress.must_ask = False
        if answer.id != recording.upload_id:
            self._store.update(recording, upload_id=answer.id)
        self.learn(progress, answer, unit.flight)
        if progress.is_closed:
            self._digest_first.was_there()
            log.info("upload.spared", recording_id=recording.id, upload_id=answer.id)
        else:
            self._digest_first.was_not_there(recording.identity.length)
        return None


def create_by(client: LaneClient, request: CreateRequest, key: str) -> UploadStatus | Pending:
    """Create an upload; `Pending` while the server copies what it extends, which the same call goes on with.

    Raises:
        TransportError: as `UploadClient.create`.
    """
    if request.extends is None or not isinstance(client, CanExtend):
        return client.create(request, key)
    answer = client.extend(request, key)
    if isinstance(answer, UploadStatus) and answer.received:
        log.info("upload.extends", upload_id=answer.id, length_bytes=answer.received.total)
    return answer


def refuse_lost(status: UploadStatus) -> None:
    """Refuse an upload that has ended.

    Raises:
        UploadLostError: it has; another is to be made.
    """
    if status.state in {"failed", "expired", "aborted"}:
        msg = f"the upload is {status.state}"
        raise UploadLostError(msg)


def _holds_more(status: UploadStatus, length: int) -> bool:
    """Return whether an upload has bytes that its file has no more."""
    return status.state == "open" and any(held.stop > length for held in status.received)


def _may_become(status: UploadStatus, length: int) -> bool:
    """Return whether an upload can end with *length* bytes: no byte is taken back."""
    if status.length is not None:
        return status.length == length
    return all(held.stop <= length for held in status.received)
