"""An upload as a value, and every decision about it that needs no file, clock or thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from ingest_server.core.errors import Refused
from ingest_server.core.recorded import recorded_at
from upload_protocol.digests import Digest
from upload_protocol.headers import MAX_OFFSET, ContentRange
from upload_protocol.messages import Receipt
from upload_protocol.ranges import MAX_RANGES, ByteRange, RangeSet

REPR_SHA_512 = "repr-sha-512"
"""The key in an upload's metadata of the SHA-512 (hex) that its client says the whole file has."""
SUPERSEDES = "supersedes"
"""The key in an upload's metadata of the published file that it is a later content of."""
OURS = frozenset({"protocol", REPR_SHA_512, SUPERSEDES})
"""Keys in an upload's metadata that the server writes, and no client after it."""
CAPTURED_AT = "captured_at"
"""The key in an upload's metadata of when its container says that it was recorded."""
FACTS = ("duration_s", "codecs", "dimensions", CAPTURED_AT, "location", "unfinalised")
"""Keys in an upload's metadata of what its container says of it."""


class State(StrEnum):
    """Where an upload stands; the values are on the wire."""

    OPEN = "open"
    VERIFYING = "verifying"
    PUBLISHING = "publishing"
    COMPLETE = "complete"
    FAILED = "failed"
    EXPIRED = "expired"
    ABORTED = "aborted"


FINISHING = frozenset({State.VERIFYING, State.PUBLISHING})
"""All bytes are there, and the file is not yet."""
UNFINISHED = frozenset({State.OPEN}) | FINISHING
"""May still become a file."""

# OPEN -> COMPLETE is the upload of a file that has been published before.
FOLLOWING: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.OPEN: frozenset(
            {State.VERIFYING, State.COMPLETE, State.FAILED, State.EXPIRED, State.ABORTED}
        ),
        State.VERIFYING: frozenset({State.OPEN, State.PUBLISHING, State.COMPLETE, State.FAILED}),
        # PUBLISHING again: the name was taken meanwhile, the next one is tried.
        State.PUBLISHING: frozenset({State.PUBLISHING, State.COMPLETE, State.FAILED}),
        State.COMPLETE: frozenset(),
        State.FAILED: frozenset(),
        State.EXPIRED: frozenset(),
        State.ABORTED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """One upload as the database holds it."""

    id: str
    device: str
    key: str
    """The create request's idempotency key."""
    name: str
    folder: str
    created_at: str
    length: int | None = None
    digest: Digest | None = None
    """What the client says that the whole file has; after completion what was found."""
    modified_at: str | None = None
    media_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    state: State = State.OPEN
    received: RangeSet = field(default_factory=RangeSet)
    touched_s: float = 0.0
    """The server's uptime when bytes were last recorded, or when the upload ended."""
    target: str | None = None
    """Path below the published folder, from the moment it is about to be used."""
    receipt: Receipt | None = None
    removed_at: str | None = None
    """When the published file was given up by `[retention]`; the receipt stays."""
    rewrites: int = 0
    """How often recorded bytes were un-recorded to be overwritten: what was hashed or read of them
    at another count may not be what is stored."""
    route: str = ""
    """What its published name begins with, decided when it was made: `core.routes`. Empty: nothing."""

    @property
    def sha_512(self) -> str | None:
        """What the client says that the whole file has, in hex."""
        return self.metadata.get(REPR_SHA_512)

    @property
    def recorded_at(self) -> datetime | None:
        """When the recording was made: by its container, else by its file; None where nobody knows."""
        captured = recorded_at(self.metadata.get(CAPTURED_AT), self.created_at)
        return captured or recorded_at(self.modified_at, self.created_at)

    @property
    def is_claimed(self) -> bool:
        """Whether the client says what the whole file has."""
        return self.digest is not None or self.sha_512 is not None


def not_found() -> Refused:
    """Return the refusal for an upload that is not there, or is another device's."""
    return Refused("upload-not-found", "no such upload")


def refuse_unless_there(record: UploadRecord) -> None:
    """Raise the refusal that fits an upload that has ended without a file.

    Raises:
        Refused: it has expired, was aborted, or its bytes are lost.
    """
    if record.state is State.EXPIRED:
        raise Refused("upload-expired", "no bytes came for too long; create a new upload")
    if record.state is State.ABORTED:
        raise Refused("upload-aborted", "the upload was aborted; create a new one")
    if record.state is State.FAILED:
        raise Refused(
            "upload-aborted", "the server lost the bytes of this upload; create a new one"
        )


def refuse_unless_open(record: UploadRecord) -> None:
    """Raise the refusal that fits an upload that takes no bytes.

    Raises:
        Refused: it has ended, or is being verified or published.
    """
    refuse_unless_there(record)
    if record.state is not State.OPEN:
        raise Refused("not-open", f"the upload is {record.state}; it takes no more bytes")


def check_length(length: int | None, max_length: int | None) -> None:
    """Refuse a file that is longer than the server takes.

    Raises:
        Refused: ``too-large``.
    """
    limit = MAX_OFFSET if max_length is None else min(max_length, MAX_OFFSET)
    if length is not None and length > limit:
        said = f"more than {MAX_OFFSET}" if length > MAX_OFFSET else str(length)
        raise Refused("too-large", f"{said} bytes; the limit is {limit} bytes")


def check_range(record: UploadRecord, content: ContentRange, max_length: int | None) -> None:
    """Refuse bytes that cannot belong to the file as it is known.

    Raises:
        Refused: the total contradicts the length, or the range ends past the file or the limit.
    """
    where, total = content.where, content.total
    if total is not None and record.length is not None and total != record.length:
        raise Refused(
            "inconsistent-length",
            f"the request says {total} bytes, the upload has {record.length}",
            missing=missing_of(record),
        )
    if total is not None and record.length is None:
        check_total(record, total)
    check_length(max(where.stop, total or 0), max_length)
    if record.length is not None and where.stop > record.length:
        raise Refused(
            "invalid-range",
            f"the range ends at byte {where.stop}, the file has {record.length}",
            missing=missing_of(record),
        )


def check_total(record: UploadRecord, length: int) -> None:
    """Refuse a whole length that contradicts what is known or has arrived already.

    Raises:
        Refused: ``inconsistent-length``.
    """
    if record.length is not None and record.length != length:
        raise Refused(
            "inconsistent-length",
            f"the request says {length} bytes, the upload has {record.length}",
            missing=missing_of(record),
        )
    reach = end_of(record.received)
    if reach > length:
        raise Refused(
            "inconsistent-length",
            f"the request says {length} bytes, but bytes up to {reach} have arrived",
        )


def end_of(ranges: RangeSet) -> int:
    """Return the offset after the last byte of *ranges*, 0 when there is none."""
    pairs = ranges.to_pairs()
    return pairs[-1][1] if pairs else 0


def missing_of(record: UploadRecord, reach: int = 0) -> RangeSet:
    """Return what has not arrived, up to the file's length or, while that is unknown, *reach*."""
    end = max(reach, end_of(record.received)) if record.length is None else record.length
    return record.received.missing(end)


def with_received(record: UploadRecord, where: ByteRange) -> RangeSet:
    """Return what is recorded once *where* is durable.

    Raises:
        Refused: the upload would fall into more pieces than it may, or the length was learned
            while these bytes came and they lie past it.
    """
    if record.length is not None and where.stop > record.length:
        raise Refused(
            "inconsistent-length",
            f"bytes up to {where.stop} came, but the file has {record.length}",
            missing=missing_of(record),
        )
    return _within_limit(record, record.received.add(where))


def without_received(record: UploadRecord, where: ByteRange) -> RangeSet:
    """Return what is recorded while *where* is being overwritten; raises as `with_received`."""
    return _within_limit(record, record.received.remove(where))


def _within_limit(record: UploadRecord, received: RangeSet) -> RangeSet:
    if len(received) > max(MAX_RANGES, len(record.received)):
        raise Refused(
            "too-many-ranges",
            f"an upload may be in at most {MAX_RANGES} pieces; fill gaps first",
            missing=missing_of(record),
        )
    return received


def next_run(recorded: RangeSet, at: int, stop: int) -> tuple[int, bool]:
    """Return where the run that starts at *at* ends (at most *stop*), and if it is recorded."""
    for found in recorded:
        if found.stop <= at:
            continue
        if found.start <= at:
            return min(found.stop, stop), True
        return min(found.start, stop), False
    return stop, False


def common_prefix(stored: bytes, sent: bytes) -> int:
    """Return how many bytes at the start of both are equal (both have one length)."""
    if stored == sent:
        return len(stored)
    # Halving with memcmp: a byte-wise loop in Python would take 20 ms for 256 KiB.
    low, high = 0, len(stored)
    while high - low > 1:
        middle = (low + high) // 2
        if stored[low:middle] == sent[low:middle]:
            low = middle
        else:
            high = middle
    return low
