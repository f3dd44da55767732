"""What the protocols of older upload servers share: their words on one side, `UploadService` on the other.

A dialect decides what its requests mean and how its answers look. Bytes go in, and files come out,
only through the receiver; what a dialect must remember beyond that is a note beside the upload.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import falcon

from ingest_server.auth.authentication import ANONYMOUS
from ingest_server.core import checksums
from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord, not_found
from ingest_server.core.recorded import told_in
from ingest_server.protocols.compat import finishing
from ingest_server.protocols.compat.finishing import ClientChecksum
from ingest_server.protocols.compat.multipart import FilePart, Form
from ingest_server.protocols.json_answer import as_json
from ingest_server.protocols.requests import device_of, link
from ingest_server.storage.interface import Part
from ingest_server.uploads.body import Body
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.service import UploadService
from upload_protocol import headers
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CreateRequest, Receipt
from upload_protocol.ranges import ByteRange

PROTOCOL = "protocol"
"""The metadata key that says by which dialect an upload was made."""
SLACK_BYTES = 1024
"""More than the last boundary of a form can differ from what it usually is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatSettings:
    """What the operator chose for the dialects."""

    checksum: str = "md5"
    require_checksum: bool = True
    chunk_bytes: int = 64 * 10**6
    retries: int = 2
    keep_failed: bool = False


class ChunkSizeError(Exception):
    """The file part is not as long as its Content-Range; what fits of it may be stored."""

    def __init__(self, announced: int, found: int) -> None:
        super().__init__(f"announced {announced}, found {found}")
        self.announced = announced
        self.found = found


class DialectAnswer(falcon.HTTPStatus):
    """An answer in the dialect's words, raised from wherever it is known."""

    def __init__(self, status: int, document: object) -> None:
        super().__init__(status, {"Content-Type": "application/json"}, as_json(document))


class StoredBody:
    """Bytes that another upload holds, as a body for the receiver."""

    def __init__(self, part: Part, start: int, length: int) -> None:
        self._part = part
        self._at = start
        self._stop = start + length
        self._interrupted = False

    def readinto(self, buffer: memoryview) -> int:
        """Return how many bytes came from the disk; 0 at the end.

        Raises:
            ConnectionAbortedError: `interrupt` was called.
            OSError: the bytes are not there, or the disk failed.
        """
        if self._interrupted:
            raise ConnectionAbortedError("the request was given up")
        data = self._part.pread(min(len(buffer), self._stop - self._at), self._at)
        if not data and self._at < self._stop:
            msg = f"the stored bytes end at {self._at}"
            raise OSError(msg)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def interrupt(self) -> None:
        self._interrupted = True


@dataclass(frozen=True, slots=True)
class DialectUploads:
    """The uploads of one dialect."""

    dialect: str
    receiver: UploadService
    settings: CompatSettings
    public_url: str | None = None

    def url(self, req: falcon.Request, path: str) -> str:
        return link(req, self.public_url, path)

    def begin(
        self,
        req: falcon.Request,
        form: Form,
        name: str,
        length: int | None = None,
        **metadata: str,
    ) -> UploadRecord:
        """Make an upload; durable on return.

        Args:
            req: asks for it.
            form: may tell when the file was last written: as far as it is read.
            name: as the client gives it.
            length: of the file; None: it is not known yet.
            metadata: kept with it.

        Raises:
            Refused: the name, the length, or there is no room.
        """
        given = req.get_header(headers.IDEMPOTENCY_KEY)
        key = given if given and headers.is_idempotency_key(given) else secrets.token_hex(16)
        wanted = CreateRequest(
            name, length=length, modified_at=told_in(form.fields), metadata=metadata
        )
        return self._create(device_of(req) or ANONYMOUS, key, wanted)

    @property
    def max_length(self) -> int:
        """The bytes of the largest file that is taken."""
        most = self.receiver.settings.max_length
        return headers.MAX_OFFSET if most is None else min(most, headers.MAX_OFFSET)

    def beside(self, record: UploadRecord, role: str, length: int | None = None) -> UploadRecord:
        """Make, or find again, the second upload of that role that belongs to *record*."""
        wanted = CreateRequest(
            record.name, length=length, modified_at=record.modified_at, metadata={"role": role}
        )
        return self._create(record.device, f"{record.id}.{role}", wanted)

    def _create(self, device: str, key: str, wanted: CreateRequest) -> UploadRecord:
        wanted = replace(wanted, metadata={**wanted.metadata, PROTOCOL: self.dialect})
        status, _ = self.receiver.creation.create(device, key, wanted)
        return self.receiver.records.find(device, status.id)

    def find(self, req: falcon.Request, upload_id: str) -> UploadRecord:
        """Return the caller's upload of that id (in hex, or written as a UUID), in any state.

        Raises:
            Refused: there is none.
        """
        try:
            found = uuid.UUID(upload_id).hex
        except ValueError:
            found = ""
        record = self.receiver.records.find(device_of(req), found)
        if record.metadata.get(PROTOCOL) != self.dialect:
            raise not_found()
        return record

    def listing(self, req: falcon.Request) -> Iterator[UploadRecord]:
        """Yield the caller's uploads; none where nobody is known by a token."""
        device = device_of(req)
        if device is not None:
            for one in self.receiver.records.of_device(device):
                if one.metadata.get(PROTOCOL) == self.dialect:
                    yield one

    def receipt(self, record: UploadRecord, *, in_list: bool) -> Receipt | None:
        """Return the receipt of a complete upload if it stands.

        A list has no file read again for it, and does not fail for one that has changed.

        Raises:
            Refused: it was asked for alone, and the file has changed.
        """
        statuses = self.receiver.statuses
        return (statuses.of(record) if in_list else statuses.asked(record)).receipt

    def fresh(self, record: UploadRecord) -> UploadRecord:
        return self.receiver.records.find(None, record.id)

    def take(
        self,
        record: UploadRecord,
        start: int,
        part: FilePart,
        *,
        length: int,
        total: int | None,
        body: Body | None = None,
    ) -> None:
        """Receive the part as the *length* bytes from *start*; all durable on return.

        Args:
            body: what hands on the bytes of *part*, if not the part itself.

        Raises:
            ChunkSizeError: it has more or fewer bytes.
            Refused: as `UploadService.receive`.
        """
        if not length - SLACK_BYTES <= part.likely_length <= length + SLACK_BYTES:
            raise ChunkSizeError(length, part.skip())  # and nothing stored is touched
        part.announce(length)
        self.expect(record)
        where = ContentRange(ByteRange(start, start + length), total)
        try:
            self.receiver.receive(None, record.id, where, body or part)
        except Refused:
            if part.is_misfit:
                raise ChunkSizeError(length, part.skip()) from None
            raise

    def take_all(
        self,
        record: UploadRecord,
        start: int,
        part: FilePart,
        *,
        limit: int | None = None,
        checksum: checksums.Checksum | None = None,
    ) -> int:
        """Receive a part of unknown length from *start* on; durable, and its length, on return.

        Args:
            limit: bytes that it may have; None: as many as the request can hold.

        Raises:
            Refused: as `UploadService.receive`.
        """
        room = part.likely_length + SLACK_BYTES if limit is None else limit
        if record.length is not None:
            room = min(room, record.length - start)
        if room <= 0:
            if part.skip():
                raise Refused("too-large", f"the file has {record.length} bytes only")
            return 0
        where = ContentRange(ByteRange(start, start + room), None)
        self.expect(record)
        self.receiver.receive(None, record.id, where, part, checksum, is_open_ended=True)
        return part.count

    def expect(self, record: UploadRecord) -> None:
        """Have what its client will most likely finish by computed as bytes of it come."""
        finishing.expect(self.receiver, record, self.dialect, self.settings.checksum)

    def finish(
        self, record: UploadRecord, form: Form, length: int, checksum: ClientChecksum | None
    ) -> Receipt | Pending:
        """Verify and publish; see `finishing.finish`. *form* may tell when the file was written."""
        modified_at = told_in(form.fields)
        return finishing.finish(self.receiver, record, length, checksum, modified_at)
