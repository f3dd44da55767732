"""What the protocols of older upload servers share: their words on one side, `Receiver` on the other.

A dialect decides what its requests mean and how its answers look. Bytes go in, and files come out,
only through the receiver; what a dialect must remember beyond that is a note beside the upload.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import falcon

from ingest_server import checksums
from ingest_server.auth import ANONYMOUS
from ingest_server.blobs.files import PartFile
from ingest_server.errors import Refused
from ingest_server.protocols.multipart import FilePart, Form
from ingest_server.receiver import Body, Pending, Receiver
from ingest_server.upload import State, UploadRecord, missing_of, refuse_unless_there
from upload_protocol import headers
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest, Receipt
from upload_protocol.ranges import ByteRange

MIB = 1024 * 1024
CHECKSUM_READ_BYTES = MIB
PROTOCOL = "protocol"
"""The metadata key that says by which dialect an upload was made."""
SLACK_BYTES = 1024
"""More than the last boundary of a form can differ from what it usually is."""
SUMS = "checksums"
"""The note of what the stored bytes had when their checksum was verified."""

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatSettings:
    """What the operator chose for the dialects."""

    checksum: str = "md5"
    require_checksum: bool = True
    chunk_bytes: int = 64 * 10**6
    retries: int = 2
    keep_failed: bool = False


class ChecksumMismatchError(Exception):
    """The stored bytes do not have the client's checksum; the upload is open as before."""


class UnknownAlgorithmError(Exception):
    """The client names an algorithm that hashlib does not have."""


class ChunkSizeError(Exception):
    """The file part is not as long as its Content-Range; what fits of it may be stored."""

    def __init__(self, announced: int, found: int) -> None:
        super().__init__(f"announced {announced}, found {found}")
        self.announced = announced
        self.found = found


@dataclass(frozen=True, slots=True)
class Checksum:
    """A checksum of the whole file as the client gives it, in hex."""

    algorithm: str
    value: str

    def hasher(self) -> hashlib._Hash:
        try:
            return hashlib.new(self.algorithm, usedforsecurity=False)
        except (ValueError, TypeError) as error:
            raise UnknownAlgorithmError(self.algorithm) from error

    def fits(self, hasher: hashlib._Hash) -> bool:
        wanted = self.value.strip().lower()
        if hasher.digest_size:
            return hasher.hexdigest() == wanted
        # The shake family has as many digits as one asks for.
        size = len(wanted) // 2
        return size >= 16 and hasher.hexdigest(size) == wanted  # type: ignore[call-arg]  # shake's

    def as_digest(self) -> Digest | None:
        """Return it as the digest of our own protocols, if it is one."""
        if self.hasher().name != "sha256":
            return None
        try:
            return Digest(bytes.fromhex(self.value.strip()))
        except ValueError as error:
            raise ChecksumMismatchError from error


class Answer(falcon.HTTPStatus):
    """An answer in the dialect's words, raised from wherever it is known."""

    def __init__(self, status: int, document: object) -> None:
        super().__init__(status, {"Content-Type": "application/json"}, as_json(document))


class StoredBody:
    """Bytes that another upload holds, as a body for the receiver."""

    def __init__(self, part: PartFile, start: int, length: int) -> None:
        self._part = part
        self._at = start
        self._stop = start + length
        self._interrupted = False

    def readinto(self, buffer: memoryview) -> int:
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
class Uploads:
    """The uploads of one dialect."""

    dialect: str
    receiver: Receiver
    settings: CompatSettings
    public_url: str | None = None
    origins: tuple[str, ...] = ()

    def form(self, req: falcon.Request) -> Form:
        """Return the request's form.

        Raises:
            Refused: it is none, or a foreign web page sends it where no token is asked for.
        """
        origin = req.get_header("Origin")
        # Any page can post a form to this machine; without a token only this tells them apart.
        is_foreign = (
            origin is not None
            and not {origin.lower(), "*"} & {one.lower() for one in self.origins}
            and urlsplit(origin).netloc.lower() != (req.get_header("Host") or "").lower()
        )
        if is_foreign and _device(req) is None:
            raise Refused("forbidden", f"pages of {(origin or '')[:80]!r} may not upload here")
        return Form(req)

    def url(self, req: falcon.Request, path: str) -> str:
        base = self.public_url or f"{req.scheme}://{req.netloc}"
        return base.rstrip("/") + path

    def begin(
        self, req: falcon.Request, name: str, length: int | None = None, **metadata: str
    ) -> UploadRecord:
        """Make an upload; durable on return.

        Raises:
            Refused: the name, the length, or there is no room.
        """
        given = req.get_header(headers.IDEMPOTENCY_KEY)
        key = given if given and headers.is_idempotency_key(given) else secrets.token_hex(16)
        return self._create(_device(req) or ANONYMOUS, key, name, length, metadata)

    def beside(self, record: UploadRecord, role: str, length: int | None = None) -> UploadRecord:
        """Make, or find again, the second upload of that role that belongs to *record*."""
        metadata = {"role": role}
        return self._create(record.device, f"{record.id}.{role}", record.name, length, metadata)

    def _create(
        self, device: str, key: str, name: str, length: int | None, metadata: Mapping[str, str]
    ) -> UploadRecord:
        wanted = CreateRequest(name, length=length, metadata={**metadata, PROTOCOL: self.dialect})
        status, _ = self.receiver.create(device, key, wanted)
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
        record = self.receiver.records.find(_device(req), found)
        if record.metadata.get(PROTOCOL) != self.dialect:
            raise Refused("upload-not-found", "no such upload")
        return record

    def listing(self, req: falcon.Request) -> list[UploadRecord] | None:
        """Return the caller's uploads; None where nobody is known by a token."""
        device = _device(req)
        if device is None:
            return None
        found = self.receiver.records.of_device(device)
        return [one for one in found if one.metadata.get(PROTOCOL) == self.dialect]

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
            Refused: as `Receiver.receive`.
        """
        if not length - SLACK_BYTES <= part.likely_length <= length + SLACK_BYTES:
            raise ChunkSizeError(length, part.skip())  # and nothing stored is touched
        part.announce(length)
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
            Refused: as `Receiver.receive`.
        """
        room = part.likely_length + SLACK_BYTES if limit is None else limit
        if record.length is not None:
            room = min(room, record.length - start)
        if room <= 0:
            if part.skip():
                raise Refused("too-large", f"the file has {record.length} bytes only")
            return 0
        where = ContentRange(ByteRange(start, start + room), None)
        self.receiver.receive(None, record.id, where, part, checksum, is_open_ended=True)
        return part.count

    def finish(self, record: UploadRecord, length: int, checksum: Checksum | None) -> Receipt:
        """Verify and publish; the file and its receipt are durable on return. Repeatable.

        A checksum that is no SHA-256 is computed over the stored bytes together with their
        SHA-256, and it is the latter that is then verified and published by: the very bytes that
        had the client's checksum, or none.

        Raises:
            ChecksumMismatchError, UnknownAlgorithmError: the upload is open as before.
            Refused: bytes are missing, or as `Receiver.complete`.
        """
        if record.state is State.COMPLETE:
            return self._again(record, checksum)
        refuse_unless_there(record)
        digest = None
        if checksum is not None:
            digest = checksum.as_digest()
            if digest is None:
                try:
                    digest = self._digest_of(record, length, checksum)
                except Refused:
                    record = self.fresh(record)
                    if record.state is not State.COMPLETE:
                        raise
                    return self._again(record, checksum)  # another request has just finished it
        return self._complete(record, CompleteRequest(length, digest))

    def _complete(self, record: UploadRecord, request: CompleteRequest) -> Receipt:
        try:
            while True:
                outcome = self.receiver.complete(None, record.id, request)
                if not isinstance(outcome, Pending):
                    return outcome
        except Refused as refused:
            if refused.code == "digest-mismatch":
                raise ChecksumMismatchError from refused
            raise

    def _again(self, record: UploadRecord, checksum: Checksum | None) -> Receipt:
        receipt = record.receipt
        if receipt is None:
            msg = "a complete upload has no receipt"
            raise RuntimeError(msg)
        if checksum is None:
            return receipt
        digest = checksum.as_digest()
        known = json.loads(self.receiver.records.note(record.id, SUMS) or "{}")
        if digest is not None:
            is_same = digest == receipt.digest
        else:
            is_same = (
                known.get("sha256") == receipt.digest.hex
                and known.get(checksum.hasher().name) == checksum.value.strip().lower()
            )
        if not is_same:
            raise ChecksumMismatchError
        return receipt

    def _digest_of(self, record: UploadRecord, length: int, checksum: Checksum) -> Digest:
        """Return the SHA-256 of the stored bytes if they have *checksum*."""
        self.receiver.status(None, record.id)  # seals what is still being written
        missing = missing_of(self.fresh(record), length)
        if missing:
            raise Refused(
                "ranges-missing", f"{missing.total} bytes have not arrived", missing=missing
            )
        theirs, ours = checksum.hasher(), hashlib.sha256()
        with self.receiver.records.reading(record.id) as part:
            at = 0
            while at < length:
                piece = part.pread(min(CHECKSUM_READ_BYTES, length - at), at)
                if not piece:
                    raise Refused("storage-failed", f"the stored bytes end at {at}")
                theirs.update(piece)
                ours.update(piece)
                at += len(piece)
        if not checksum.fits(theirs):
            raise ChecksumMismatchError
        sums = {"sha256": ours.hexdigest(), theirs.name: checksum.value.strip().lower()}
        self.receiver.records.write_note(record.id, SUMS, json.dumps(sums))
        return Digest(ours.digest())


def content_range(value: str | None) -> tuple[int, int, int] | None:
    """Return first, last and total of a Content-Range as these servers read it."""
    match = None if value is None else _CONTENT_RANGE.match(value)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


def dashed(upload_id: str) -> str:
    """Return an id as these servers write theirs: as a UUID."""
    return str(uuid.UUID(upload_id))


def as_json(document: object) -> str:
    # ASCII with escapes: a name may hold what UTF-8 cannot (lone surrogates).
    return json.dumps(document, separators=(",", ":"))


def say(resp: falcon.Response, document: object, status: int = 200) -> None:
    resp.status = status
    resp.content_type = "application/json"
    resp.data = as_json(document).encode("ascii")


def detail_shape(model: str, method: str, refused: Refused) -> tuple[int, Mapping[str, Any]]:
    """Return a refusal as Django REST framework words it."""
    status = refused.problem.status
    document: dict[str, Any] = {}
    if refused.code in {"upload-not-found", "not-found"}:
        detail = f"No {model} matches the given query."
    elif refused.code == "method-not-allowed":
        detail = f'Method "{method}" not allowed.'
    elif status == 410:
        detail = "Upload has expired"
    elif refused.code == "not-open":
        status, detail = 400, 'Upload has already been marked as "complete"'
    elif refused.code in {"invalid-name", "too-large"}:
        status, detail = 400, refused.detail
    else:
        # Nothing that the original could say: our own code tells a program what it is.
        detail, document = refused.detail, {"code": refused.code}
    return status, {"detail": detail, **document}


def _device(req: falcon.Request) -> str | None:
    device: str | None = req.context.caller.device
    return device
