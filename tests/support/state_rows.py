"""Records as a store of facts keeps them, for its tests."""

from __future__ import annotations

from dataclasses import replace

from ingest_server.core import events
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.interface import TokenRecord
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt
from upload_protocol.ranges import ByteRange, RangeSet

DIGEST = Digest.of(b"x")
TOKEN = TokenRecord("t1", "cam", b"h1", "2026-01-01T00:00:00Z", ("upload",), "2027-01-01T00:00:00Z")
RECORD = UploadRecord(
    id="0" * 32,
    device="cam",
    key="key",
    name="nul \0 crlf \r\n quote ' \" é \U0001f3a5",
    folder="a/b",
    created_at="2026-11-21T10:00:00Z",
    length=10,
    digest=DIGEST,
    modified_at="2026-11-21T09:00:00Z",
    media_type="video/mp4",
    metadata={"a\ud800": "\0"},
    route="s3://survey/raw",
    received=RangeSet([ByteRange(1, 3), ByteRange(5, 2**62)]),
    touched_s=1.5,
    target="cam/x",
    receipt=Receipt("0" * 32, "cam", "x", 10, DIGEST, "t", "client", "cam/x"),
)
WHOLE = ByteRange(0, 100)


def insert(state, *records: UploadRecord) -> None:
    for record in records:
        state.run(lambda rows, record=record: rows.insert(record))


def record(number: int, **changes) -> UploadRecord:
    """Return an open upload of five bytes, one of many."""
    plain = UploadRecord(
        id=f"{number:032x}", device="cam", key=str(number), name="a", folder="",
        created_at="2026-11-21T10:00:00Z", length=5, touched_s=10.0,
    )  # fmt: skip
    return replace(plain, **changes)


def tell_of_corruption(state, count: int) -> None:
    def tell(rows) -> None:
        for _ in range(count):
            rows.tell(events.CORRUPTED, record(1))

    state.run(tell)


def published(number: int, target: str, *, by: int | None = None, verified_at="2026-11-21", **more):
    origin = f"{number if by is None else by:032x}"
    receipt = Receipt(origin, "cam", "a", 5, DIGEST, verified_at, "client", target)
    return record(
        number, state=State.COMPLETE, digest=DIGEST, target=target, receipt=receipt, **more
    )
