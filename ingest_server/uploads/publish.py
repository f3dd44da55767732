"""From "all bytes are there" to a published file and a receipt.

Each byte is written once: the part file gets a second name. The order, each step durable before
the next: state ``publishing`` with the target -> link -> folders -> state ``complete`` with the
receipt -> the part's name goes. After a crash the same inode at the target says how far it got.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import structlog

from ingest_server.base.clock import rfc3339
from ingest_server.core import events
from ingest_server.core.errors import Refused, refused_by_disk
from ingest_server.core.names import NameTemplate, numbered
from ingest_server.core.record import FOLLOWING, State, UploadRecord
from ingest_server.storage.files.parts import FileBlobs, is_unwritten
from ingest_server.storage.sqlite.queries import Transaction
from ingest_server.uploads.hashing import catch_up, digest_of
from ingest_server.uploads.standing import Standing, Standings
from ingest_server.uploads.store import UploadStore
from ingest_server.uploads.writers import Live
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

log = structlog.get_logger()


def changed() -> Refused:
    """Return what is answered for a complete upload whose file is not that any more."""
    return Refused(
        "upload-aborted",
        "the published file has changed since it was verified, there is no receipt for it any "
        "more; create a new upload and send it again",
    )


BeforePublish = Callable[[UploadRecord, Path], None]
"""Asked about a verified file, given by the path of its bytes, before it is published.

Raises `Refused` to have it not published; the upload is open again and keeps its bytes.
"""


def allow_all(_record: UploadRecord, _path: Path) -> None:
    """Refuse nothing."""


class Publisher:
    """Verifies uploads and gives them their published name."""

    def __init__(
        self,
        store: UploadStore,
        standings: Standings,
        template: NameTemplate,
        before_publish: BeforePublish = allow_all,
    ) -> None:
        self._observer = store.observer
        self._state = store.state
        self._blobs = store.blobs
        self._committer = store.committer
        self._standings = standings
        self._clock = store.clock
        self._uptime = store.uptime
        self._template = template
        self._is_stopping = store.is_stopping
        self._before_publish = before_publish
        self._published = object()
        """Another one with each file that is published: what was not there before may be."""
        # One at a time: two uploads of one file must not both find that it is not there yet.
        self._publishing = threading.Lock()

    def earlier(
        self,
        record: UploadRecord,
        live: Live,
        length: int,
        digest: Digest,
        *,
        is_claimed: bool,
        may_read: bool = True,
    ) -> Receipt | None:
        """Return the receipt of this very file if it was published before and is sound now.

        The same bytes under the same name in another folder are another file.

        Args:
            may_read: read what nobody can vouch for otherwise; else it does not count.

        Raises:
            Refused: the server stops, or the database failed.
        """
        for folder, receipt in self._alike(record, live, length, digest):
            if folder == record.folder and self._is_sound(receipt, may_read=may_read):
                # What a client claims and the server has found is verified against a client.
                return replace(receipt, verified_against="client") if is_claimed else receipt
        return None

    def stands(self, receipt: Receipt) -> bool:
        """Whether the receipt of a complete upload may be given again, without reading its file.

        A file that somebody has taken away was sound when it was there.
        """
        return self._standings.of(receipt) in {Standing.SOUND, Standing.GONE}

    def read_again(self, receipt: Receipt) -> Receipt:
        """Read the file of a complete upload; its receipt stands on return.

        Raises:
            Refused: the file has changed, the server stops, or the database failed.
        """
        if self._standings.check(receipt) is Standing.CHANGED:
            raise changed()
        return receipt

    def may_have(self, record: UploadRecord, live: Live, length: int, digest: Digest) -> bool:
        """Whether these bytes of that name may be published, in whatever folder; nothing is read."""
        wanted = {Standing.SOUND, Standing.DOUBTFUL}
        alike = self._alike(record, live, length, digest)
        return any(self._standings.of(receipt) in wanted for _, receipt in alike)

    def source(
        self, record: UploadRecord, live: Live, length: int, digest: Digest
    ) -> Receipt | None:
        """Return the receipt of a sound file with these bytes and that name, read where needed.

        Of the upload's own folder, if it is there. Of another folder the operator's check has
        been asked whether it may be published in this one too.

        Raises:
            Refused: that check refuses it, the server stops, or the database failed.
        """
        for folder, receipt in self._alike(record, live, length, digest):
            if not self._is_sound(receipt, may_read=True):
                continue
            if folder != record.folder:
                asked = replace(record, length=length, digest=digest)
                self._before_publish(asked, self._blobs.published_path(receipt.published_as))
            return receipt
        return None

    def publish_from(self, record: UploadRecord, live: Live, source: Receipt) -> Receipt:
        """Complete an open upload that brought no bytes by those of *source*; durable on return.

        In another folder the file gets one more name, and its own receipt.

        Raises:
            Refused: *source* is not sound any more, or the disk failed.
        """
        with self._publishing:
            if not self._is_sound(source, may_read=False):
                raise Refused("server-busy", "the published file has just changed", retry_after_s=1)
            found = self.earlier(
                record, live, source.length, source.digest, is_claimed=True, may_read=False
            )
            if found is not None:
                return self.adopt(record, found)
            receipt = replace(
                source,
                upload_id=record.id,
                verified_at=rfc3339(self._clock.now_utc()),
                verified_against="client",
            )
            try:
                return self._under_a_free_name(record, receipt, source)
            except OSError as error:
                raise refused_by_disk(error) from error

    def _alike(
        self, record: UploadRecord, live: Live, length: int, digest: Digest
    ) -> list[tuple[str, Receipt]]:
        asked = (self._published, length, digest)
        if live.unpublished == asked:
            return []
        with self._state.reading() as queries:
            found = queries.published(record, length, digest)
        if not found:
            live.unpublished = asked
        return [(one.folder, one.receipt) for one in found if one.receipt is not None]

    def _is_sound(self, receipt: Receipt, *, may_read: bool) -> bool:
        found = self._standings.check(receipt) if may_read else self._standings.of(receipt)
        return found is Standing.SOUND

    def adopt(self, record: UploadRecord, receipt: Receipt) -> Receipt:
        """Let the upload be complete with a receipt of an earlier one; durable on return."""
        self._move(
            record,
            State.COMPLETE,
            length=receipt.length,
            digest=receipt.digest,
            target=receipt.published_as,
            receipt=receipt,
        )
        self._blobs.remove_part(record.id)
        self._observer.upload_completed()
        log.info(
            "upload.completed",
            upload_id=record.id,
            device_id=record.device,
            length_bytes=receipt.length,
            is_repeat=True,
        )
        return receipt

    def paused(self) -> AbstractContextManager[bool]:
        """Let nothing be published meanwhile: a name keeps its file, a folder stays empty."""
        return self._publishing

    def finish(self, record: UploadRecord, live: Live) -> Receipt:
        """Verify and publish an upload in ``verifying``, or go on with one in ``publishing``.

        On return the file and the receipt are durable.

        Args:
            record: the upload as it is: in these states only this changes it.

        Raises:
            Refused: the digest does not fit (the upload is open again), the disk failed, or the
                server stops (then the next start goes on).
        """
        try:
            if record.state is State.PUBLISHING:
                before = self._read_again(record)
                with self._publishing:
                    return self._resume(record, live, before)
            digest = self._verify(record, live)
            self._ask(record, live, digest)
            with self._publishing:
                return self._publish(record, live, digest)
        except OSError as error:
            self._reopen(record.id)
            raise refused_by_disk(error) from error

    def _verify(self, record: UploadRecord, live: Live) -> Digest:
        length = record.length or 0
        started_s = self._clock.now_s()
        part = self._blobs.open_part(record.id)
        try:
            # Bytes may lie past a length that was learned late: written, but never recorded.
            part.cut(length)
            while not catch_up(live.running, part, lambda: length, self._is_stopping):
                if self._is_stopping():
                    raise Refused("stopping", "the server is stopping", retry_after_s=5)
        finally:
            part.close()
        found = live.running.follow(length)
        if found is None:
            msg = f"the running hash is at {live.running.upto}, not at the end ({length})"
            raise RuntimeError(msg)
        digest = found.digest()
        self._observer.file_verified(self._clock.now_s() - started_s)
        if record.digest not in {None, digest}:
            # The next look is at the disk: this hash is of what arrived.
            live.running.drop()
            self._reopen(record.id, "digest-mismatch")
            self._observer.digest_mismatched("file")
            log.warning("upload.mismatched", upload_id=record.id, device_id=record.device)
            raise Refused("digest-mismatch", f"the stored bytes have {digest}, not {record.digest}")
        return digest

    def _ask(self, record: UploadRecord, live: Live, digest: Digest) -> None:
        """Let the operator's check look at the file, unless the very same is published already."""
        length = record.length or 0
        if self.earlier(record, live, length, digest, is_claimed=False) is not None:
            return
        try:
            self._before_publish(replace(record, digest=digest), self._blobs.part_path(record.id))
        except Refused as refused:
            self._reopen(record.id, refused.code)
            raise

    def _publish(self, record: UploadRecord, live: Live, digest: Digest) -> Receipt:
        length = record.length or 0
        is_claimed = record.digest is not None
        found = self.earlier(record, live, length, digest, is_claimed=is_claimed)
        if found is not None:
            return self.adopt(record, found)
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
        return self._under_a_free_name(record, receipt)

    def _resume(self, record: UploadRecord, live: Live, before: str | None) -> Receipt:
        receipt, target = record.receipt, record.target
        if receipt is None or target is None:
            msg = f"upload {record.id} is publishing without a receipt"
            raise RuntimeError(msg)
        if self._blobs.is_linked(record.id, target):
            return self._conclude(record, receipt, before)
        found = self.earlier(
            record,
            live,
            receipt.length,
            receipt.digest,
            is_claimed=receipt.verified_against == "client",
        )
        if found is not None:
            return self.adopt(record, found)
        return self._under_a_free_name(record, receipt)

    def _read_again(self, record: UploadRecord) -> str | None:
        """Refuse a half published file that has changed since it was verified.

        Its name may have been there for as long as the server was off.

        Returns:
            The identity of what was read; None where the part is gone.
        """
        receipt = record.receipt
        if receipt is None or not self._blobs.has_part(record.id):
            return None
        part = self._blobs.open_part(record.id)
        try:
            before = part.identity()
            part.forget_cached()
            found = digest_of(part, self._is_stopping)
        finally:
            part.close()
        if found == receipt.digest:
            return before
        detail = f"it has {found} instead of {receipt.digest}"
        self._move(record, State.FAILED)
        self._state.tell(events.CORRUPTED, record.id, path=receipt.published_as, detail=detail)
        self._observer.upload_failed("changed")
        log.error(
            "file.corrupted",
            upload_id=record.id,
            device_id=record.device,
            path=receipt.published_as,
            error=f"{detail}: it changed while it was half published; it is left where it is, and "
            "its device is told to send it again",
        )
        raise Refused(
            "upload-aborted", "the file changed before it was published; create a new one"
        )

    def _under_a_free_name(
        self, record: UploadRecord, receipt: Receipt, source: Receipt | None = None
    ) -> Receipt:
        """Give the part file, or the published file of *source*, a name that nobody has."""
        first = self._template.path(
            device=record.device,
            folder=record.folder,
            date=record.created_at[:10],
            name=record.name,
        )
        try:
            return self._link(record, receipt, first, source)
        except NotADirectoryError:
            # A published file stands where this one needs a folder; nobody has this folder.
            return self._link(record, receipt, f"{record.id}/{first.rpartition('/')[2]}", source)

    def _link(
        self, record: UploadRecord, receipt: Receipt, first: str, source: Receipt | None
    ) -> Receipt:
        for target in numbered(first):
            named = replace(receipt, published_as=target)
            if self._blobs.is_taken(target):
                if self._is_forgotten(record, named):
                    return self.adopt(record, named)
                continue
            if source is not None:
                if self._blobs.link_published(source.published_as, target):
                    return self._conclude_from(record, named, source)
                continue
            record = self._move(
                record, State.PUBLISHING, digest=receipt.digest, target=target, receipt=named
            )
            before = self._blobs.part_identity(record.id)
            if self._blobs.link(record.id, target):
                return self._conclude(record, named, before)
        raise AssertionError("numbered() never ends")

    def _is_forgotten(self, record: UploadRecord, receipt: Receipt) -> bool:
        """Whether this very file is published there, and the database has never heard of it.

        So it is where the database was restored from a copy that is older than the file.
        """
        with self._state.reading() as queries:
            if queries.has_target(receipt.published_as, besides=record.id):
                return False
        return is_published_there(self._blobs, receipt.published_as, receipt.length, receipt.digest)

    def _conclude_from(self, record: UploadRecord, receipt: Receipt, source: Receipt) -> Receipt:
        """Complete an upload whose name is there; a crash before leaves a file to be adopted."""
        self._blobs.sync_target(receipt.published_as)
        self._move(
            record,
            State.COMPLETE,
            length=receipt.length,
            digest=receipt.digest,
            target=receipt.published_as,
            receipt=receipt,
        )
        self._blobs.remove_part(record.id)
        self._standings.note_link(source, receipt)
        return self._completed(record, receipt)

    def _conclude(
        self, record: UploadRecord, receipt: Receipt, before: str | None = None
    ) -> Receipt:
        """Complete a linked upload; *before*: what its part was before anybody could see it."""
        self._blobs.sync_target(receipt.published_as)
        self._vouch(receipt, before, is_final=False)
        self._move(record, State.COMPLETE)
        self._blobs.remove_part(record.id)
        # Once more: taking the part's name away has changed the inode.
        self._vouch(receipt, before, is_final=True)
        return self._completed(record, receipt)

    def _vouch(self, receipt: Receipt, before: str | None, *, is_final: bool) -> None:
        identity = self._blobs.identity(receipt.published_as)
        if identity is not None and before is not None and is_unwritten(before, identity):
            self._standings.note(receipt.upload_id, receipt.digest, identity, is_final=is_final)

    def _completed(self, record: UploadRecord, receipt: Receipt) -> Receipt:
        self._observer.upload_completed()
        log.info(
            "upload.completed",
            upload_id=record.id,
            device_id=record.device,
            length_bytes=receipt.length,
            path=receipt.published_as,
        )
        return receipt

    def _reopen(self, upload_id: str, code: str = "storage-failed") -> None:
        """Back to open from verifying; what is publishing stays so and is gone on with."""

        def reopen(transaction: Transaction) -> None:
            record = transaction.get(upload_id)
            if record is not None and record.state is State.VERIFYING:
                now_s = self._uptime.now_s()
                kept = replace(record, state=State.OPEN, touched_s=now_s)
                transaction.save(kept)
                transaction.tell(events.FAILED, kept, code=code)

        self._committer.run(reopen)

    def _move(
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
        """
        now_s = self._uptime.now_s()

        def move(transaction: Transaction) -> UploadRecord:
            now = transaction.state_of(record.id)
            if now is None or state not in FOLLOWING[now]:
                raise Refused("not-open", "the upload has ended meanwhile")
            # To an open one bytes may have come meanwhile; all else of it is changed here only.
            found = transaction.known(record.id) if now is State.OPEN else record
            if receipt is not None and receipt.upload_id != record.id:
                origin = transaction.get(receipt.upload_id)
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

        moved = self._committer.run(move)
        if state is State.COMPLETE:
            self._published = object()
        return moved


def is_published_there(blobs: FileBlobs, target: str, length: int, digest: Digest) -> bool:
    """Whether the file at *target* has just these bytes; its name and they are durable then."""
    if not blobs.is_published(target, length):
        return False
    try:
        part = blobs.open_published(target)
        try:
            if digest_of(part) != digest:
                return False
            part.sync()
        finally:
            part.close()
        blobs.sync_target(target)
    except OSError:  # moved or rotten meanwhile: as good as not there
        return False
    return True
