"""How an upload of the dialect with ``unique_id`` ends: by the hash of the chain of its chunks, or for good."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NoReturn

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord
from ingest_server.protocols.compat import chunk_chain, finishing
from ingest_server.protocols.compat.dialect import DialectAnswer, DialectUploads
from ingest_server.uploads.pending import Pending
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

ALGORITHMS = {"MD5": "md5", "SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}
HASH_FUNCTION = "hash_function"
FAILED = "failed"
FINAL_HASH = "final-hash"
"""The note of what the client says the whole chain has, kept while that is being checked."""


def finish_if_whole(
    uploads: DialectUploads,
    record: UploadRecord,
    final_hash: str | None,
    modified_at: str | None = None,
) -> Receipt | Pending | None:
    """Verify and publish if all chunks are there; None: some are missing.

    Args:
        final_hash: what the client says that the chain of all chunks has; looked at while the upload is open.

    Raises:
        DialectAnswer: it is another, and the upload has failed for good.
        Refused: as `finishing.once`.
    """
    length = record.length or 0
    so_far = chunk_chain.so_far(uploads, record, algorithm_of(record))
    if so_far.end != length:
        return None
    notes = uploads.receiver.records.notes(record.id)
    if record.state is State.OPEN:
        _check(uploads, record, final_hash, notes, so_far.chain)
    try:
        return finishing.once(
            uploads.receiver,
            record,
            length,
            lambda: finishing.finish_by(
                uploads.receiver,
                record,
                length,
                lambda found: _digest(uploads, found, notes),
                modified_at=modified_at,
            ),
        )
    except finishing.ChecksumMismatchError as error:
        raise _being_replaced() from error


def fail_for_good(uploads: DialectUploads, record: UploadRecord, why: str) -> NoReturn:
    """End an upload that nothing can mend.

    Raises:
        DialectAnswer: always, with *why*.
    """
    uploads.receiver.records.write_note(record.id, FAILED, why)
    if not uploads.settings.keep_failed:
        uploads.receiver.abort(None, record.id)
    raise DialectAnswer(400, {"message": why})


def was_to_end(uploads: DialectUploads, record: UploadRecord) -> bool:
    """Return whether the client has sent all chunks, and the hash of them all if it must."""
    records = uploads.receiver.records
    is_failed = records.note(record.id, FAILED) is not None
    if is_failed or chunk_chain.so_far(uploads, record, algorithm_of(record)).end != record.length:
        return False
    has_hash = records.note(record.id, FINAL_HASH) is not None
    return has_hash or not uploads.settings.require_checksum


def finish(uploads: DialectUploads, record: UploadRecord) -> None:
    """Do what the request with the last chunk did not get to; raises what it would have."""
    final_hash = uploads.receiver.records.note(record.id, FINAL_HASH)
    while isinstance(finish_if_whole(uploads, record, final_hash), Pending):
        continue


def algorithm_of(record: UploadRecord) -> str:
    """Return what the client hashes its chunks with, as hashlib names it."""
    return ALGORITHMS[record.metadata[HASH_FUNCTION]]


def _check(
    uploads: DialectUploads,
    record: UploadRecord,
    final_hash: str | None,
    notes: Mapping[str, str],
    chain: str | None,
) -> None:
    if final_hash and notes.get(FINAL_HASH) != final_hash:
        uploads.receiver.records.write_note(record.id, FINAL_HASH, final_hash)
    needs_hash = uploads.settings.require_checksum or bool(final_hash)
    if needs_hash and (final_hash or "").strip().lower() != chain:
        uploads.receiver.records.mismatched(record.id)
        fail_for_good(uploads, record, "File is corrupted")


def _digest(uploads: DialectUploads, record: UploadRecord, notes: Mapping[str, str]) -> Digest:
    """Return the SHA-256 of the stored bytes, which are what each chunk's hash said."""
    records = uploads.receiver.records
    digest = records.sha_256(record.id, record.length or 0)
    if not records.find(None, record.id).rewrites:
        # Asked behind it: no byte was replaced since its chunk was verified, and then recorded.
        return digest
    whole = hashlib.sha256()
    for start, length, chunk_hash in chunk_chain.in_order(notes):
        hasher = hashlib.new(algorithm_of(record), usedforsecurity=False)
        runs = [(start, length)]
        records.sum_up(record.id, runs, hasher, whole)
        if hasher.hexdigest() != chunk_hash:
            raise _being_replaced()
    return Digest(whole.digest())


def _being_replaced() -> Refused:
    return Refused("server-busy", "a chunk is being replaced", retry_after_s=1)
