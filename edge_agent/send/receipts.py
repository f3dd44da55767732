"""The server's receipt: whether it is for our bytes, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from edge_agent.base.errors import ReceiptRefusedError, TransportError, UploadLostError
from edge_agent.core.recording import Recording
from edge_agent.core.retention import ReceiptAnswer, ReceiptStanding
from edge_agent.core.upload import Event
from edge_agent.send.clients.interface import UploadClient
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store
from upload_protocol.digests import Digest
from upload_protocol.headers import is_upload_id
from upload_protocol.messages import Receipt

log = structlog.get_logger()


def check_receipt(receipt: Receipt, digest: Digest, length: int, *, device: str) -> None:
    """Refuse a receipt that is not for these bytes of this device (law L2).

    Upload id, name and place may be others: the same bytes, published by an earlier upload of *device*.

    Raises:
        ReceiptRefusedError: do not let the recording go.
    """
    if receipt.digest != digest or receipt.length != length:
        msg = (
            f"the receipt is for {receipt.length} bytes with {receipt.digest}, this recording has"
            f" {length} bytes with {digest}: it is kept"
        )
        raise ReceiptRefusedError(msg, expected=str(digest), actual=str(receipt.digest))
    if receipt.device != device:
        msg = f"the receipt is for a file of device {receipt.device}, this is {device}: the recording is kept"
        raise ReceiptRefusedError(msg, expected=str(digest), actual=str(receipt.digest))
    if receipt.verified_against != "client" or not is_upload_id(receipt.upload_id):
        msg = "the receipt does not say that the server compared our digest: the recording is kept"
        raise ReceiptRefusedError(msg, expected=str(digest), actual=str(receipt.digest))


def standing_of(client: UploadClient, receipt: Receipt) -> ReceiptAnswer:
    """Ask the server whether it still stands by *receipt*, which it gave long ago."""
    try:
        status = client.status(receipt.upload_id)
    except UploadLostError as error:
        return ReceiptAnswer(ReceiptStanding.VOID, str(error))
    except TransportError as error:
        return ReceiptAnswer(ReceiptStanding.UNKNOWN, str(error))
    now = status.receipt
    if now is not None:
        if (now.digest, now.length) == (receipt.digest, receipt.length):
            return ReceiptAnswer(ReceiptStanding.HOLDS)
        return ReceiptAnswer(ReceiptStanding.VOID, f"its receipt is for {now.digest} by now")
    if status.state in {"complete", "verifying", "publishing"}:
        return ReceiptAnswer(ReceiptStanding.UNKNOWN, "the server reads the published file again")
    return ReceiptAnswer(ReceiptStanding.VOID, f"the upload is {status.state}")


def keep_receipt(
    store: Store,
    recording: Recording,
    receipt: Receipt,
    *,
    verified_at: str,
    duration_s: float,
    attempts: int,
    is_gone: bool,
    facts: Mapping[str, str],
) -> None:
    """Make *receipt* durable, with the event that tells of it, in one transaction.

    Args:
        verified_at: RFC 3339, by our clock.
        is_gone: there is no file to let go: it was deleted here meanwhile.
        facts: what the file says of itself, as the server was told.
    """
    verified = store.advance(
        recording,
        Event.RECEIPT_STORED,
        receipt=receipt,
        verified_at=verified_at,
        failures=0,
        problem=None,
        detail="its file was deleted here while it was sent" if is_gone else None,
        tell=[_completed(recording, receipt, duration_s, attempts, is_gone=is_gone, facts=facts)],
    )
    if is_gone:
        store.advance(verified, Event.SOURCE_VANISHED)
    log.info(
        "upload.verified",
        recording_id=recording.id,
        upload_id=receipt.upload_id,
        length_bytes=receipt.length,
        bytes_resent=recording.resent_bytes,
        duration_s=round(duration_s, 1),
        published_as=receipt.published_as,
    )


def _completed(
    recording: Recording,
    receipt: Receipt,
    duration_s: float,
    attempts: int,
    *,
    is_gone: bool,
    facts: Mapping[str, str],
) -> NewEvent:
    return NewEvent(
        "file.completed",
        {
            "file_id": recording.id,
            "name": recording.name,
            "folder": recording.folder,
            "length": receipt.length,
            "digest": str(receipt.digest),
            "upload_id": receipt.upload_id,
            "published_as": receipt.published_as,
            "duration_s": round(duration_s, 3),
            "bytes_resent": recording.resent_bytes,
            "attempts": attempts,
            "source_gone": is_gone,
            "supersedes": recording.supersedes,
            "facts": dict(facts),
        },
        subject=recording.id,
    )
