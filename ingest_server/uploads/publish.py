"""From "all bytes are there" to a published file and a receipt; its last steps are in `placing`."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import structlog

from edge_host.clock import rfc3339
from ingest_server.base.turns import Places
from ingest_server.core.errors import Refused, refused_by_disk
from ingest_server.core.names import NameTemplate
from ingest_server.core.record import FINISHING, State, UploadRecord
from ingest_server.core.recorded import recorded_at
from ingest_server.uploads.earlier import Earlier, is_same_file
from ingest_server.uploads.leases import Leases
from ingest_server.uploads.live import Live
from ingest_server.uploads.moves import Moves
from ingest_server.uploads.naming import Naming
from ingest_server.uploads.placing import Placing
from ingest_server.uploads.standing import Standings
from ingest_server.uploads.store import UploadStore
from ingest_server.uploads.verify import Verifier
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

log = structlog.get_logger()

_NO_FURTHER_NAME = frozenset({errno.EMLINK, errno.EPERM, errno.EXDEV, errno.ENOENT})
"""Of a published file: it has as many as can be, somebody has made it his own, or moved it away."""

BeforePublish = Callable[[UploadRecord, Path], None]
"""Asked about a verified file, given by the path of its bytes, before it is published.

Raises `Refused` to have it not published; the upload is open again and keeps its bytes.
"""


def allow_all(_record: UploadRecord, _path: Path) -> None:
    """Refuse nothing."""


class Publisher:
    """Has uploads verified and gives them their published name."""

    def __init__(
        self,
        store: UploadStore,
        standings: Standings,
        template: NameTemplate,
        before_publish: BeforePublish = allow_all,
        *,
        lead_s: float = 0.0,
    ) -> None:
        """Join the parts.

        Args:
            lead_s: how long a new folder is there before its first file.
        """
        self._blobs = store.blobs
        self._clock = store.clock
        self.earlier = Earlier(store, standings)
        self._state = store.state
        self._leases = Leases(store.state)
        self._moves = Moves(store, self._leases)
        self._verifier = Verifier(store, self._moves)
        self.naming = Naming(store.state, template)
        self.placing = Placing(
            store,
            naming=self.naming,
            moves=self._moves,
            verifier=self._verifier,
            earlier=self.earlier,
            standings=standings,
        )
        self._before_publish = before_publish
        self._stopping = store.stopping
        self._lead_s = lead_s
        self._standings = standings
        self._contents = Places(1)
        """Of the same bytes of a device one upload is published at a time: two of one file must not
        both find that it is not there yet."""

    def source(
        self, record: UploadRecord, live: Live, length: int, digest: Digest
    ) -> Receipt | None:
        """Return the receipt of a sound file whose bytes the upload need not bring.

        One of another name or folder: the operator's check has been asked about this one too.

        Raises:
            Refused: that check refuses it, the server stops, or the database failed.
        """
        found = self.earlier.sound(record, live, length, digest)
        if found is None:
            return None
        one, receipt = found
        if not is_same_file(one, record):
            if not self._blobs.can_publish_again:
                return None  # the bytes have to come
            asked = replace(record, length=length, digest=digest)
            with self._blobs.lend_published(receipt.published_as) as path:
                self._before_publish(asked, path)
        return receipt

    def publish_from(self, record: UploadRecord, live: Live, source: Receipt) -> Receipt | None:
        """Complete an open upload that brought no bytes by those of *source*; durable on return.

        What has another name or folder gets one more name, and its own receipt. None: the file
        system gives *source* no further name, so its bytes have to be sent.

        Raises:
            Refused: *source* is not sound any more, or the disk failed.
        """
        with self._alone_with(record, source.digest):
            found = self.earlier.same(
                record, live, source.length, source.digest, is_claimed=True, may_read=False
            )
            if found is not None:
                return self.placing.adopt(record, found)
            receipt = replace(
                source,
                upload_id=record.id,
                name=record.name,
                verified_at=rfc3339(self._clock.now_utc()),
                verified_against="client",
            )
            sharing = self.earlier.sharing(record, live, source)
            try:
                made = self.placing.under_a_free_name(record, receipt, source)
            except OSError as error:
                if error.errno not in _NO_FURTHER_NAME:
                    raise refused_by_disk(error) from error
                log.info("file.unlinked", path=source.published_as, error=error.strerror)
                return None
            self._standings.note_link(source, made, sharing)
            return made

    def paused(self, target: str) -> AbstractContextManager[None]:
        """Let nothing be published beside *target* meanwhile: the name keeps its file."""
        return self.placing.alone_beside(target)

    def _alone_with(
        self, record: UploadRecord, digest: Digest | None
    ) -> AbstractContextManager[None]:
        return self._contents.of(f"{digest} {record.device}")

    def finish(self, record: UploadRecord, live: Live) -> Receipt:
        """Verify and publish an upload in ``verifying``, or go on with one in ``publishing``.

        On return the file and the receipt are durable.

        Raises:
            Refused: the digest does not fit (the upload is open again), the disk failed, another replica
                finishes it, or the server stops (then the next start goes on).
        """
        with self._leases.hold(record.id):
            # In these states only who has the lease changes it; another replica may have had it before.
            if self._state.is_shared:
                record = self._state.get(record.id)
            if record.state is State.COMPLETE and record.receipt is not None:
                return record.receipt
            if record.state not in FINISHING:
                detail = "another replica of the server has gone on with this upload"
                raise Refused("server-busy", detail, retry_after_s=1)
            return self._finish(record, live)

    def _finish(self, record: UploadRecord, live: Live) -> Receipt:
        try:
            if record.state is State.PUBLISHING:
                self._date(record)  # a crash may have taken it
                before = self._verifier.read_again(record)
                before = self._verifier.stage_again(record, before)
                with self._alone_with(record, record.digest):
                    return self._resume(record, live, before)
            digest = self._verifier.verify(record, live)
            self._date(record)
            before = self._blobs.part_identity(record.id)
            is_new = self._ask(record, live, digest)
            before = self._verifier.verify_touched(record, live, digest, before)
            if is_new:
                before = self._verifier.stage(record, digest, before)
                _, has_made = self.placing.make_way(record)
                if has_made:
                    self._stopping.wait(self._lead_s)
            with self._alone_with(record, digest):
                return self._publish(record, live, digest, before)
        except OSError as error:
            self._moves.reopen(record.id)
            raise refused_by_disk(error) from error

    def _date(self, record: UploadRecord) -> None:
        """Let the file carry the recording's time; before its identity is looked at."""
        moment = recorded_at(record.modified_at, record.created_at)
        if moment is not None:
            self._blobs.date_part(record.id, moment)

    def _ask(self, record: UploadRecord, live: Live, digest: Digest) -> bool:
        """Let the operator's check look at the file, unless the very same is published already.

        Returns:
            Whether it is not.
        """
        length = record.length or 0
        if self.earlier.same(record, live, length, digest, is_claimed=False) is not None:
            return False
        if self._before_publish is allow_all:
            return True  # nothing is lent for nobody: some stores have to make a copy for that
        try:
            with self._blobs.lend_path(record.id) as path:
                self._before_publish(replace(record, digest=digest), path)
        except Refused as refused:
            self._moves.reopen(record.id, refused.code)
            raise
        return True

    def _publish(
        self, record: UploadRecord, live: Live, digest: Digest, before: str | None
    ) -> Receipt:
        length = record.length or 0
        is_claimed = record.is_claimed
        found = self.earlier.same(record, live, length, digest, is_claimed=is_claimed)
        if found is not None:
            return self.placing.adopt(record, found)
        receipt = Receipt(
            upload_id=record.id,
            device=record.device,
            name=record.name,
            length=length,
            digest=digest,
            verified_at=rfc3339(self._clock.now_utc()),
            verified_against="client" if is_claimed else "none",
            published_as="",
        )
        return self.placing.under_a_free_name(record, receipt, before=before)

    def _resume(self, record: UploadRecord, live: Live, before: str | None) -> Receipt:
        receipt, target = record.receipt, record.target
        if receipt is None or target is None:
            msg = f"upload {record.id} is publishing without a receipt"
            raise RuntimeError(msg)
        if self._blobs.is_published_as(record.id, target):
            return self.placing.conclude(record, receipt, before)
        if self.earlier.is_forgotten(record, replace(receipt, published_as=target)):
            # A copy tells by nothing but its bytes that it was put there before the crash.
            return self.placing.adopt(record, replace(receipt, published_as=target), is_new=True)
        found = self.earlier.same(
            record,
            live,
            receipt.length,
            receipt.digest,
            is_claimed=receipt.verified_against == "client",
        )
        if found is not None:
            return self.placing.adopt(record, found)
        return self.placing.under_a_free_name(record, receipt, before=before)
