"""Whether the server still stands by a receipt of long ago: asked before the recording is let go.

What was verified lately goes without a question: letting go depends on nothing else (law L6).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from edge_agent.core.recording import FailureCode, Recording
from edge_agent.core.retention import RECEIPT_TRUSTED_S, ReceiptAnswer, ReceiptStanding
from edge_agent.core.upload import Event
from edge_agent.media.pending_removals import PendingRemovals
from edge_agent.store.failed import file_failed
from edge_agent.store.recordings import Store
from upload_protocol.messages import Receipt

log = structlog.get_logger()

_ASK_AGAIN_S = 60.0

AskServer = Callable[[Receipt], ReceiptAnswer]
"""Asks the server whether a receipt holds; returns within seconds, whatever the link does."""


def nobody_to_ask(_receipt: Receipt) -> ReceiptAnswer:
    """Stand in where there is no server: nothing old goes."""
    return ReceiptAnswer(ReceiptStanding.UNKNOWN, "there is nobody to ask")


class OldReceipts:
    """For the janitor's thread."""

    def __init__(self, store: Store, pending: PendingRemovals, ask: AskServer) -> None:
        self._store = store
        self._pending = pending
        self._ask = ask
        self._silent_until_s = 0.0
        self._silence = ""
        """Why the server could not be asked the last time."""

    def may_go(self, recording: Recording, receipt: Receipt, now_s: float) -> bool:
        """Return whether *recording* may go by its receipt; if not, why is told.

        Raises:
            StoreError: what the server said could not be written down.
        """
        running_s = self._store.running.now_s()
        confirmed_s = recording.receipt_s
        if confirmed_s is not None and running_s - confirmed_s < RECEIPT_TRUSTED_S:
            return True
        if now_s < self._silent_until_s:
            self._pending.unconfirmed(recording.id, self._silence, now_s)
            return False
        answer = self._ask(receipt)
        match answer.standing:
            case ReceiptStanding.HOLDS:
                self._store.update(recording, receipt_s=running_s)
                self._pending.confirmed(recording.id)
            case ReceiptStanding.VOID:
                self._keep(recording, answer.detail)
            case ReceiptStanding.UNKNOWN:
                self._silent_until_s, self._silence = now_s + _ASK_AGAIN_S, answer.detail
                self._pending.unconfirmed(recording.id, answer.detail, now_s)
        return False

    def _keep(self, recording: Recording, why: str) -> None:
        detail = f"verified, and the server does not hold it any more ({why}): it is kept here"
        code = FailureCode.RECEIPT_VOID
        self._store.advance(
            recording,
            Event.REJECTED,
            problem=code,
            detail=detail,
            delete_allowed=False,
            tell=[file_failed(recording, code, detail, is_permanent=False)],
        )
        self._pending.forget(recording.id)
        log.error("upload.failed", recording_id=recording.id, code=code, detail=detail)
