"""The length of an upload that was created without one: learned once, and from then on it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.errors import Refused
from ingest_server.core.record import check_length, check_total, refuse_unless_open
from ingest_server.storage.interface import StateStore, Transaction
from ingest_server.uploads.giving_way import GivingWay
from ingest_server.uploads.limits import refuse_over_quota
from ingest_server.uploads.store import UploadStore


class Lengths:
    """Takes lengths that clients tell by themselves; one that comes with bytes is learned by `receive`."""

    def __init__(
        self,
        store: UploadStore,
        giving_way: GivingWay,
        settings: Callable[[], ReceiverSettings],
    ) -> None:
        """Join the parts; *settings* returns those of now."""
        self._store = store
        self._giving_way = giving_way
        self._settings = settings

    def fix(self, device: str | None, upload_id: str, length: int) -> None:
        """Fix the length of an upload, in bytes; older requests for it end. Durable on return.

        Raises:
            Refused: it is unknown, or takes no bytes; or as `learn_length`.
        """
        record = self._store.find(device, upload_id)
        refuse_unless_open(record)
        with self._store.live.hold(upload_id) as live:
            # One that began without a length may be about to write past this one.
            live.end_writers(Refused("superseded", "a newer request tells the length"))
            self._store.state.end_claims(upload_id)
            with self._giving_way.to(upload_id):
                learn_length(
                    self._store.state,
                    upload_id,
                    length,
                    self._settings(),
                    unrecorded=self._store.reaches.unrecorded_beside(record),
                )


def learn_length(
    state: StateStore,
    upload_id: str,
    length: int,
    settings: ReceiverSettings,
    *,
    unrecorded: int,
) -> None:
    """Fix the length of an upload that was created without one; durable on return.

    Args:
        unrecorded: as in `refuse_over_quota`.

    Raises:
        Refused: another length is known, bytes beyond this one have arrived, or a limit.
    """
    check_length(length, settings.max_length)

    def learn(transaction: Transaction) -> None:
        found = transaction.get_open(upload_id)
        check_total(found, length)
        quota = settings.quota_bytes
        refuse_over_quota(
            transaction, found.device, upload_id, length, quota, unrecorded=unrecorded
        )
        transaction.save(replace(found, length=length))

    state.run(learn)
