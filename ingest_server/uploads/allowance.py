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
from dataclasses import dataclass

from ingest_server.auth import admitted
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord, end_of
from ingest_server.storage.interface import Transaction
from ingest_server.uploads.limits import refuse_over_quota
from ingest_server.uploads.reach import Reaches
from ingest_server.uploads.room import Room
from upload_protocol.headers import MAX_OFFSET
from upload_protocol.ranges import ByteRange


@dataclass(frozen=True, slots=True)
class _Into:
    """Where a request writes that the quota bounds as it goes."""

    record: UploadRecord
    where: ByteRange
    is_open_ended: bool


class Allowance:
    """Of one request; made in its thread, and then used from any."""

    def __init__(
        self, room: Room, reaches: Reaches, settings: Callable[[], ReceiverSettings]
    ) -> None:
        self.stop = MAX_OFFSET
        """Up to here it may write."""
        self.written = 0
        """Up to here it has written; told once it writes no more."""
        self._room = room
        self._reaches = reaches
        self._settings = settings
        self._into: _Into | None = None
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

    def reach_into(self, record: UploadRecord, where: ByteRange, *, is_open_ended: bool) -> None:
        """Bound what it writes into an upload whose length nobody told by its device's quota.

        Raises:
            Refused: ``quota-exceeded``.
        """
        self._into = _Into(record, where, is_open_ended)
        self._extend(where.start, where.start if is_open_ended else where.stop)

    def reach_on(self, position: int) -> None:
        """Bound anew what a body without a known end writes from *position* on: to `stop` at most.

        Raises:
            Refused: ``quota-exceeded``: less is left than was.
        """
        if self._into is not None and self._into.is_open_ended:
            self._extend(position, position)

    def exceeded(self) -> Refused:
        """Return why it may not go on past `stop`."""
        quota = self._settings().quota_bytes
        detail = f"the body goes on past byte {self.stop}: the device's quota is {quota} bytes"
        return Refused("quota-exceeded", detail)

    def _extend(self, position: int, least: int) -> None:
        into, settings = self._into, self._settings()
        if into is None or settings.quota_bytes is None:
            self.stop = MAX_OFFSET
            return
        stop = max(least, min(position + settings.seal_bytes, into.where.stop))
        self.stop = self._reaches.allow(
            self,
            into.record,
            stop,
            settings.quota_bytes,
            least=least,
        )

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
        """Give back the room; nothing more is written. May be told more than once."""
        self._room.give_back(self)
        into, self._into = self._into, None
        if into is not None:
            self._reaches.leave(self, into.record.id, self.written)
