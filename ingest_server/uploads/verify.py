"""Whether the bytes of an upload are what they should be, before anybody else sees them."""

from __future__ import annotations

import errno
import hashlib
from contextlib import closing

import structlog

from ingest_server.core import events
from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.interface import Part
from ingest_server.uploads.hashing import catch_up, digest_of, sums_of
from ingest_server.uploads.live import Live
from ingest_server.uploads.moves import Moves
from ingest_server.uploads.store import UploadStore, stopped
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

log = structlog.get_logger()


class Verifier:
    """Reads what has arrived."""

    def __init__(self, store: UploadStore, moves: Moves) -> None:
        self._state = store.state
        self._blobs = store.blobs
        self._clock = store.clock
        self._observer = store.observer
        self._is_stopping = store.is_stopping
        self._moves = moves

    def verify(self, record: UploadRecord, live: Live) -> Digest:
        """Return the digest of a whole upload; what the running hash has not seen yet is read.

        Raises:
            Refused: it is not the digest that was claimed (the upload is open again), or the
                server stops.
            OSError: the disk failed.
        """
        length = record.length or 0
        started_s = self._clock.now_s()
        live.running.agree(record.rewrites)
        with closing(self._blobs.open_part(record.id)) as part:
            # Bytes may lie past a length that was learned late: written, but never recorded.
            part.cut(length)
            while not catch_up(live.running, part, lambda: length, self._is_stopping):
                if self._is_stopping():
                    raise stopped()
            sha_512 = self._sha_512(record, part, length)
        found = live.running.follow(length)
        if found is None:
            msg = f"the running hash is at {live.running.upto}, not at the end ({length})"
            raise RuntimeError(msg)
        digest = found.digest()
        self._observer.file_verified(self._clock.now_s() - started_s)
        if record.digest not in {None, digest}:
            raise self._mismatched(record, live, f"{digest}, not {record.digest}")
        if sha_512 != record.sha_512:
            raise self._mismatched(record, live, f"the SHA-512 {sha_512}, not {record.sha_512}")
        return digest

    def _sha_512(self, record: UploadRecord, part: Part, length: int) -> str | None:
        """Return the SHA-512 of the stored bytes where the client has told one: one more reading."""
        if record.sha_512 is None:
            return None
        hasher = hashlib.sha512()
        sums_of(part, [(0, length)], self._is_stopping, hasher)
        return hasher.hexdigest()

    def _mismatched(self, record: UploadRecord, live: Live, what: str) -> Refused:
        """Open the upload again, whose bytes are not what they should be; return what is answered."""
        # The next look is at the disk: this hash is of what arrived.
        live.running.drop()
        self._moves.reopen(record.id, "digest-mismatch")
        self._observer.digest_mismatched("file")
        log.warning("upload.mismatched", upload_id=record.id, device_id=record.device)
        return Refused("digest-mismatch", f"the stored bytes have {what}")

    def read_again(self, record: UploadRecord) -> str | None:
        """Refuse a half published file that has changed since it was verified.

        Its name may have been there for as long as the server was off.

        Returns:
            The identity of what was read; None where the part is gone.

        Raises:
            Refused: it has changed, the upload has failed; or the server stops.
            OSError: the disk failed.
        """
        receipt = record.receipt
        if receipt is None or self._blobs.part_length(record.id) is None:
            return None
        with closing(self._blobs.open_part(record.id)) as part:
            before = part.identity()
            part.forget_cached()
            found = digest_of(part, self._is_stopping)
        if found == receipt.digest:
            return before
        raise self.fail(record, receipt, f"it has {found} instead of {receipt.digest}")

    def verify_touched(
        self, record: UploadRecord, live: Live, digest: Digest, before: str | None
    ) -> str | None:
        """Read the bytes again if anything touched them since they were *before*; return what they are.

        An operator's check has been lent the file meanwhile, and must only read it.

        Raises:
            Refused: they have another digest (the upload is open again), or the server stops.
            OSError: the disk failed.
        """
        now = self._blobs.part_identity(record.id)
        if before is None or now == before:
            return now
        log.warning(
            "upload.touched",
            upload_id=record.id,
            error="its bytes were touched after they were verified, perhaps by a before_publish "
            "hook, which must only read them: they are read again",
        )
        live.running.drop()
        if self.verify(record, live) == digest:
            return now
        self._moves.reopen(record.id, "digest-mismatch")
        raise Refused("digest-mismatch", "the stored bytes changed after they were verified")

    def stage(self, record: UploadRecord, digest: Digest, before: str | None) -> str | None:
        """Bring verified bytes to where they will be published, and read them there.

        Returns:
            The identity of what will be published; *before* where nothing was to be done.

        Raises:
            Refused: the server stops.
            OSError: the disk failed, or other bytes are read there.
        """
        hand = self._blobs.stage(record.id, self._is_stopping)
        if hand is None:
            return before
        try:
            identity = hand.identity()
            hand.forget_cached()
            if digest_of(hand, self._is_stopping) != digest or hand.identity() != identity:
                raise OSError(errno.EIO, "the published volume gives other bytes than were written")
        finally:
            hand.close()
        return identity

    def stage_again(self, record: UploadRecord, before: str | None) -> str | None:
        """Do what `stage` does for a half published upload whose name is not there; as it raises."""
        receipt, target = record.receipt, record.target
        if receipt is None or target is None or self._blobs.is_taken(target):
            return before
        return self.stage(record, receipt.digest, before)

    def read_published(self, receipt: Receipt) -> str | None:
        """Read a file that the store has just made of an upload's bytes; return the identity of it.

        One that is not the recording is taken away: the next try makes it anew. Just that one: whoever went
        on in our place may have made the right one meanwhile.

        Raises:
            Refused: the server stops.
            OSError: the store failed, or made another file.
        """
        with closing(self._blobs.open_published(receipt.published_as)) as hand:
            identity = hand.identity()
            found = digest_of(hand, self._is_stopping)
        if found == receipt.digest:
            return identity
        log.error(
            "file.made_wrong",
            upload_id=receipt.upload_id,
            path=receipt.published_as,
            error=f"the store made a file with {found} of bytes with {receipt.digest}: it is taken "
            "back, and made again",
        )
        if identity is not None:
            self._blobs.remove_published(receipt.published_as, identity)
        raise OSError(errno.EIO, "the store made other bytes than it was given")

    def fail(self, record: UploadRecord, receipt: Receipt, detail: str) -> Refused:
        """Let a half published upload fail, durably, since its file has changed; tell of it.

        Returns:
            What its client is answered.
        """
        self._moves.to(record, State.FAILED)
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
        return Refused(
            "upload-aborted", "the file changed before it was published; create a new one"
        )
