"""Finishing an upload by a checksum of any algorithm, as the older upload servers do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ingest_server.core.errors import Refused, is_no_file
from ingest_server.core.record import State, UploadRecord, missing_of, refuse_unless_there
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.service import UploadService
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest, Receipt

SUMS = "checksums"
"""The note of what the stored bytes had when their checksum was verified."""

_FINISHED_BY: Mapping[str, str | None] = MappingProxyType({"django": "md5", "django-init": None})
"""The algorithm of the whole file's checksum where it is the dialect's; None: it is of another kind."""


class ChecksumMismatchError(Exception):
    """The stored bytes do not have the client's checksum; the upload is open as before."""


class UnknownAlgorithmError(Exception):
    """The client names an algorithm that hashlib does not have."""


@dataclass(frozen=True, slots=True)
class ClientChecksum:
    """A checksum of the whole file as the client gives it, in hex."""

    algorithm: str
    value: str

    def hasher(self) -> hashlib._Hash:
        """Return a new hash of its algorithm.

        Raises:
            UnknownAlgorithmError: this machine cannot compute it.
        """
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
        """Return it as the digest of our own protocols, if it is one.

        Raises:
            ChecksumMismatchError: it is no SHA-256 though it is called one: nothing can match.
            UnknownAlgorithmError: this machine cannot compute it.
        """
        if self.hasher().name != "sha256":
            return None
        try:
            return Digest(bytes.fromhex(self.value.strip()))
        except ValueError as error:
            raise ChecksumMismatchError from error


def expect(receiver: UploadService, record: UploadRecord, dialect: str, chosen: str) -> None:
    """Have what the client will most likely finish by computed as its bytes come.

    Args:
        chosen: the operator's algorithm, where the dialect has none of its own.
    """
    algorithm = _FINISHED_BY.get(dialect, chosen)
    if algorithm is not None:
        receiver.records.ask_for(record.id, algorithm)


def finish(
    receiver: UploadService,
    record: UploadRecord,
    length: int,
    checksum: ClientChecksum | None,
    modified_at: str | None = None,
) -> Receipt | Pending:
    """Verify and publish; with a receipt, the file and it are durable on return. Repeatable.

    What takes longer than an answer may goes on in the background, once however often it is asked
    for: `Pending`. The first who asks after that is told how it ended.

    A checksum that is no SHA-256 is computed over the stored bytes together with their SHA-256,
    and it is the latter that is then verified and published by: the very bytes that had the
    client's checksum, or none. Where the algorithm was known at the start, both were computed as the
    bytes came.

    Raises:
        ChecksumMismatchError, UnknownAlgorithmError: the upload is open as before.
        Refused: bytes are missing, or as `UploadService.complete`.
    """
    if record.state is not State.COMPLETE:
        refuse_unless_there(record)
    if checksum is not None:
        checksum.hasher()
    outcome = once(
        receiver,
        record,
        (length, checksum),
        lambda: finish_now(receiver, record, length, checksum, modified_at),
    )
    if isinstance(outcome, Pending):
        return outcome
    # It may have ended long before it is told: whether the file still stands is asked now.
    return receiver.complete(None, record.id, CompleteRequest(outcome.length, outcome.digest))


def once(
    receiver: UploadService, record: UploadRecord, about: Hashable, work: Callable[[], Receipt]
) -> Receipt | Pending:
    """Do *work* that finishes an upload, or join it: see `LongWork.join`.

    Args:
        about: what it depends on beside the upload's bytes.

    Raises:
        ChecksumMismatchError: as *work*; each caller gets its own.
        Refused: as *work*, or other work on the upload is running.
    """
    if record.state is State.OPEN:
        receiver.status(None, record.id)  # seals what is still being written
    found = receiver.records.find(None, record.id)
    key = (about, found.rewrites, found.received.total)
    try:
        wait_s = receiver.settings.verify_wait_s
        return receiver.long_work.join(record.device, record.id, key, work, wait_s)
    except ChecksumMismatchError as error:
        raise ChecksumMismatchError from error


def finish_now(
    receiver: UploadService,
    record: UploadRecord,
    length: int,
    checksum: ClientChecksum | None,
    modified_at: str | None = None,
) -> Receipt:
    """Verify and publish, however long it takes; as `finish`.

    Raises:
        ChecksumMismatchError, UnknownAlgorithmError, Refused: as `finish`.
    """

    def digest_of(found: UploadRecord) -> Digest | None:
        if checksum is None:
            return None
        return checksum.as_digest() or _digest_of(receiver, found, length, checksum)

    return finish_by(
        receiver, record, length, digest_of, checksum=checksum, modified_at=modified_at
    )


def finish_by(
    receiver: UploadService,
    record: UploadRecord,
    length: int,
    digest_of: Callable[[UploadRecord], Digest | None],
    *,
    checksum: ClientChecksum | None = None,
    modified_at: str | None = None,
) -> Receipt:
    """Verify by what *digest_of* finds in the stored bytes, and publish, however long it takes.

    Whoever else finishes it takes the bytes away: then it has ended as it would have here.

    Raises:
        ChecksumMismatchError, UnknownAlgorithmError, Refused: as `finish`.
    """
    record = receiver.records.find(None, record.id)
    if record.state is State.COMPLETE:
        return _again(receiver, record, checksum)
    try:
        digest = digest_of(record)
    except Refused:
        record = receiver.records.find(None, record.id)
        if record.state is not State.COMPLETE:
            raise
        return _again(receiver, record, checksum)
    return _complete(receiver, record, CompleteRequest(length, digest, modified_at))


def _complete(receiver: UploadService, record: UploadRecord, request: CompleteRequest) -> Receipt:
    try:
        while True:
            outcome = receiver.complete(None, record.id, request)
            if not isinstance(outcome, Pending):
                return outcome
    except Refused as refused:
        if refused.code == "digest-mismatch":
            raise ChecksumMismatchError from refused
        raise


def _again(
    receiver: UploadService, record: UploadRecord, checksum: ClientChecksum | None
) -> Receipt:
    receipt = record.receipt
    if receipt is None:
        msg = "a complete upload has no receipt"
        raise RuntimeError(msg)
    request = CompleteRequest(receipt.length, receipt.digest)
    if checksum is None:
        return _complete(receiver, record, request)
    digest = checksum.as_digest()
    known = _known(receiver, record, receipt, checksum)
    if digest is not None:
        is_same = digest == receipt.digest
    else:
        is_same = (
            known.get("sha256") == receipt.digest.hex
            and known.get(checksum.hasher().name) == checksum.value.strip().lower()
        )
    if not is_same:
        raise ChecksumMismatchError
    return _complete(receiver, record, request)


def _known(
    receiver: UploadService, record: UploadRecord, receipt: Receipt, checksum: ClientChecksum
) -> dict[str, str]:
    """Return what is known of the bytes of a complete upload: their sums, by algorithm.

    Whoever has completed it may have named another one: the published file is read once for each.
    """
    known: dict[str, str] = json.loads(receiver.records.note(record.id, SUMS) or "{}")
    theirs, ours = checksum.hasher(), hashlib.sha256()
    if theirs.name == "sha256" or theirs.name in known or not theirs.digest_size:
        return known
    try:
        receiver.records.sum_up_published(receipt, theirs, ours)
    except Refused as refused:
        if is_no_file(refused.__cause__):
            return known  # a consumer has it
        raise
    if ours.hexdigest() != receipt.digest.hex:
        return known
    known |= {"sha256": receipt.digest.hex, theirs.name: theirs.hexdigest()}
    receiver.records.write_note(record.id, SUMS, json.dumps(known))
    return known


def _digest_of(
    receiver: UploadService, record: UploadRecord, length: int, checksum: ClientChecksum
) -> Digest:
    """Return the SHA-256 of the stored bytes if they have *checksum*."""
    missing = missing_of(receiver.records.find(None, record.id), length)
    if missing:
        raise Refused("ranges-missing", f"{missing.total} bytes have not arrived", missing=missing)
    theirs, ours = checksum.hasher(), hashlib.sha256()
    running = receiver.records.running(record.id, length, theirs.name) if length else None
    if running is not None and checksum.fits(running[1]):
        digest, theirs = running
    else:  # not known, or not what it should be: then the disk has the last word
        receiver.records.sum_up(record.id, [(0, length)], theirs, ours)
        digest = Digest(ours.digest())
    if not checksum.fits(theirs):
        receiver.records.mismatched(record.id)
        raise ChecksumMismatchError
    sums = {"sha256": digest.hex, theirs.name: checksum.value.strip().lower()}
    receiver.records.write_note(record.id, SUMS, json.dumps(sums))
    return digest
