"""What a running request may do until its next seal: the one place where that is looked at.

At each seal, and so before the last one too: is its caller still admitted, is there room for what
comes until the next, and inside the transaction that records, is the upload open, the claim on the
range the newest, and the quota kept. Completing asks for the caller again, and, in its own
transaction, whether the upload is open.

A length that is known was reserved against the quota in the transaction that wrote it, so there is
nothing to look at again: a quota that is lowered later holds for what begins after it.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest_server.auth import admitted
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.record import UploadRecord, end_of
from ingest_server.storage.interface import Transaction
from ingest_server.uploads.limits import refuse_over_quota
from ingest_server.uploads.room import Room


class Allowance:
    """Of one request; made in its thread, and then used from any."""

    def __init__(self, room: Room, settings: Callable[[], ReceiverSettings]) -> None:
        self._room = room
        self._settings = settings
        self._refuse_unless_admitted = admitted.question()

    def begin(self, record: UploadRecord, unstored: int, *, is_open_ended: bool) -> None:
        """Allow the first bytes of a request.

        Args:
            unstored: bytes that it announces and that are not stored yet.
            is_open_ended: *unstored* is only a limit.

        Raises:
            Refused: ``storage-full``.
        """
        settings = self._settings()
        allowed = min(unstored, settings.seal_bytes)
        needed = allowed if is_open_ended else unstored
        if unstored:
            reserve = settings.min_free_bytes
            self._room.grant(self, allowed, reserve, needed=needed, record=record)

    def renew(self, unstored: int) -> None:
        """Allow what comes until the next seal.

        Args:
            unstored: bytes that may come until then and are not stored yet.

        Raises:
            Refused: ``storage-full``, or the caller is not admitted any more.
        """
        self._refuse_unless_admitted()
        if unstored:
            self._room.grant(self, unstored, self._settings().min_free_bytes, needed=unstored)

    def confirm(self) -> None:
        """Refuse to acknowledge what a caller brought who is not admitted any more.

        Raises:
            Refused: ``unauthorized``.
        """
        self._refuse_unless_admitted()

    def check(self, transaction: Transaction, kept: UploadRecord) -> None:
        """Refuse to record *kept* when it is more than the device may hold.

        Raises:
            Refused: ``quota-exceeded``.
        """
        if kept.length is None:  # else it was reserved when the length was told
            reach, quota = end_of(kept.received), self._settings().quota_bytes
            refuse_over_quota(transaction, kept.device, kept.id, reach, quota)

    def end(self) -> None:
        """Give back the room; nothing more is written."""
        self._room.give_back(self)
