"""The steps of an upload from ``verifying`` on, each durable before the next begins."""

from __future__ import annotations

from dataclasses import replace

from ingest_server.core import events
from ingest_server.core.errors import Refused
from ingest_server.core.record import FOLLOWING, State, UploadRecord
from ingest_server.storage.interface import Transaction
from ingest_server.uploads.leases import Leases
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


class NameGivenError(Exception):
    """Another upload is being published under that name, by another replica."""


class Moves:
    """Writes where an upload stands."""

    def __init__(self, store: UploadStore, leases: Leases) -> None:
        self._state = store.state
        self._leases = leases
        self._uptime = store.uptime

    def reopen(self, upload_id: str, code: str = "storage-failed") -> None:
        """Back to open from verifying; what is publishing stays so and is gone on with."""

        def reopen(transaction: Transaction) -> None:
            self._leases.refuse_if_lost(transaction, upload_id)
            record = transaction.find(upload_id)
            if record is not None and record.state is State.VERIFYING:
                now_s = self._uptime.now_s()
                kept = replace(record, state=State.OPEN, touched_s=now_s)
                transaction.save(kept)
                transaction.tell(events.FAILED, kept, code=code)

        self._state.run(reopen)

    def to(
        self,
        record: UploadRecord,
        state: State,
        *,
        length: int | None = None,
        digest: Digest | None = None,
        target: str | None = None,
        receipt: Receipt | None = None,
    ) -> UploadRecord:
        """Change the state and what is given with it; durable on return.

        Returns:
            The upload as it is then.

        Raises:
            Refused: it has ended meanwhile, another replica has gone on with it, or the earlier file
                of *receipt* is being removed.
            NameGivenError: another upload is about to have that name.
        """
        now_s = self._uptime.now_s()

        def move(transaction: Transaction) -> UploadRecord:
            self._leases.refuse_if_lost(transaction, record.id)
            is_named = state is State.PUBLISHING and target is not None
            if is_named and transaction.is_being_published(str(target), besides=record.id):
                raise NameGivenError(target)
            now = transaction.state_of(record.id)
            if now is None or state not in FOLLOWING[now]:
                raise Refused("not-open", "the upload has ended meanwhile")
            # To an open one bytes may have come meanwhile; all else of it is changed here only.
            found = transaction.get(record.id) if now is State.OPEN else record
            if receipt is not None and receipt.upload_id != record.id:
                origin = transaction.find(receipt.upload_id)
                if origin is not None and origin.removed_at is not None:
                    # Between finding it and this: published anew when the client asks again.
                    raise Refused("server-busy", "the same file is being removed", retry_after_s=1)
            moved = replace(
                found,
                state=state,
                touched_s=now_s,
                length=found.length if length is None else length,
                digest=digest or found.digest,
                target=target or found.target,
                receipt=receipt or found.receipt,
            )
            transaction.save(moved)
            return moved

        return self._state.run(move)
