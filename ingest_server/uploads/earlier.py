"""Whether a file was published before: its twins, and what is known of them.

One file that is sent twice is stored once. What a twin is worth is told by `standing`.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.storage.interface import Blobs
from ingest_server.uploads.hashing import digest_of
from ingest_server.uploads.live import Live
from ingest_server.uploads.standing import Standing, Standings
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

MOST_NAMES = 16
"""That one content is given by linking: each further one touches what is known of all of them."""


def changed() -> Refused:
    """Return what is answered for a complete upload whose file is not that any more."""
    return Refused(
        "upload-aborted",
        "the published file has changed since it was verified, there is no receipt for it any "
        "more; create a new upload and send it again",
    )


class Earlier:
    """Finds what was published before an upload."""

    def __init__(self, store: UploadStore, standings: Standings) -> None:
        self._state = store.state
        self._blobs = store.blobs
        self._standings = standings
        self._published = object()
        """Another one with each file that is published: what was not there before may be."""

    def same(
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

        The same bytes in another folder, or under another name, are another file.

        Args:
            may_read: read what nobody can vouch for otherwise; else it does not count.

        Raises:
            Refused: the server stops, or the database failed.
        """
        for one, receipt in self._alike(record, live, length, digest):
            if is_same_file(one, record) and self.is_sound(receipt, may_read=may_read):
                # What a client claims and the server has found is verified against a client.
                return replace(receipt, verified_against="client") if is_claimed else receipt
        return None

    def upload_of(
        self, record: UploadRecord, live: Live, length: int, digest: Digest
    ) -> UploadRecord | None:
        """Return the complete upload of this very file whose receipt may be given again at once.

        Nothing is read, and nothing is changed.
        """
        for one, receipt in self._alike(record, live, length, digest):
            is_good = is_same_file(one, record) and receipt.verified_against == "client"
            if is_good and self.is_sound(receipt, may_read=False):
                return one
        return None

    def may_have(self, record: UploadRecord, live: Live, length: int, digest: Digest) -> bool:
        """Whether the device may have these bytes published, under any name; nothing is read."""
        alike = self._alike(record, live, length, digest)
        return any(self.may_be_there(receipt) for _, receipt in alike)

    def of_bytes(
        self, record: UploadRecord, length: int, digest: Digest
    ) -> list[tuple[UploadRecord, Receipt]]:
        """Return what the device of *record* has published with these bytes, whatever became of it.

        That of the very same file first; nothing that `[retention]` removed.
        """
        found = self._state.published(record, length, digest)
        return [(one, one.receipt) for one in found if one.receipt is not None]

    def may_be_there(self, receipt: Receipt) -> bool:
        """Whether the published file may be what its receipt says; nothing is read."""
        return self._standings.of(receipt) in {Standing.SOUND, Standing.DOUBTFUL}

    def may_be_read(self, record: UploadRecord, live: Live) -> bool:
        """Whether `same` may have to read a file for an upload whose bytes are hashed."""
        length = record.length or 0
        found = live.running.follow(length)
        digest = record.digest or (None if found is None else found.digest())
        return digest is not None and any(
            is_same_file(one, record) and self._standings.of(receipt) is Standing.DOUBTFUL
            for one, receipt in self._alike(record, live, length, digest)
        )

    def sound(
        self, record: UploadRecord, live: Live, length: int, digest: Digest
    ) -> tuple[UploadRecord, Receipt] | None:
        """Return a sound file of the device with these bytes, read where that is needed.

        Returns:
            Its upload, which is of the very same file if there is one, and its receipt.

        Raises:
            Refused: the server stops, or the database failed.
        """
        for one, receipt in self._alike(record, live, length, digest):
            if self.is_sound(receipt, may_read=True):
                return one, receipt
        return None

    def is_forgotten(self, record: UploadRecord, receipt: Receipt) -> bool:
        """Whether this very file is published there, and the database has never heard of it.

        So it is where the database was restored from a copy that is older than the file.
        """
        if self._state.has_target(receipt.published_as, besides=record.id):
            return False
        return is_published_there(self._blobs, receipt.published_as, receipt.length, receipt.digest)

    def is_sound(self, receipt: Receipt, *, may_read: bool) -> bool:
        """Whether the published file is what its receipt says; see `same`."""
        found = self._standings.check(receipt) if may_read else self._standings.of(receipt)
        return found is Standing.SOUND

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

    def sharing(self, record: UploadRecord, live: Live, source: Receipt) -> list[Receipt]:
        """Return the receipts of files that may be further names of *source*."""
        alike = self._alike(record, live, source.length, source.digest)
        found = {receipt.upload_id: receipt for _, receipt in alike}
        found.pop(source.upload_id, None)
        return list(found.values())

    def published_now(self) -> None:
        """Hear that one more file is published; durably, and before another is looked for."""
        self._published = object()

    def _alike(
        self, record: UploadRecord, live: Live, length: int, digest: Digest
    ) -> list[tuple[UploadRecord, Receipt]]:
        asked = (self._published, length, digest)
        if live.unpublished == asked:
            return []
        alike = self.of_bytes(record, length, digest)
        if not alike:
            live.unpublished = asked
        # Files without a byte have all the same, and nothing is spared by linking them.
        if length == 0 or len({receipt.published_as for _, receipt in alike}) >= MOST_NAMES:
            return [(one, receipt) for one, receipt in alike if is_same_file(one, record)]
        return alike


def is_same_file(one: UploadRecord, other: UploadRecord) -> bool:
    """Whether two uploads of the same bytes and device are of one file: by its name and folder."""
    return (one.folder, one.name) == (other.folder, other.name)


def is_published_there(blobs: Blobs, target: str, length: int, digest: Digest) -> bool:
    """Whether the file at *target* has just these bytes; its name and they are durable then."""
    if not blobs.is_published(target, length):
        return False
    try:
        with closing(blobs.open_published(target)) as part:
            if digest_of(part) != digest:
                return False
            part.sync()
        blobs.sync_published(target)
    except OSError:  # moved or rotten meanwhile: as good as not there
        return False
    return True
