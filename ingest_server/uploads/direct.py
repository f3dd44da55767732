"""Bytes that a device sends to the store itself: signed here, and looked at in the store before they count.

A part is a piece of the upload like those that a writer puts, under a claim of its own (`storage.s3.pieces`).
So takeover holds for it as for a request: once a newer request claims some of its bytes, it is not recorded any
more, and what comes late is hidden. Only bytes of which nothing is recorded are signed; so a link that is out can
never hide what was acknowledged.

Nothing of the bytes is seen here. The receipt rests on SHA-256 of what is read from the store, as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace

import structlog

from ingest_server.auth import admitted
from ingest_server.core.errors import Refused, refused_by_disk
from ingest_server.core.record import (
    State,
    UploadRecord,
    missing_of,
    refuse_unless_open,
    with_received,
)
from ingest_server.storage.interface import Claim, Transaction
from ingest_server.uploads.live import Live
from ingest_server.uploads.store import UploadStore
from upload_protocol.direct import Part, SentPart, SignedPart, SignedParts
from upload_protocol.ranges import ByteRange

EXPIRES_S = 900
"""How long a request by a link may begin: a device that is held up by its owner's rules asks again."""

MOST_SIGNED = 256
"""Claims of one upload beyond which none is signed: 2 GiB of full parts that nobody has reported. Each is kept
until its bytes are recorded or sent otherwise, or the upload ends; a device sends one part after another."""

log = structlog.get_logger()


class Direct:
    """Signs where parts go, and records those that the store has."""

    def __init__(self, store: UploadStore, routes: AbstractSet[str] = frozenset()) -> None:
        """*routes*: those whose uploads may go so (`core.routes`)."""
        self._store = store
        self._routes = routes

    def part_bytes(self, record: UploadRecord) -> int | None:
        """Return how large a part of an upload may be; None: all its bytes come through this server."""
        is_offered = record.route in self._routes and record.state is State.OPEN
        return self._store.blobs.border_bytes if is_offered and record.length else None

    def sign(self, device: str | None, upload_id: str, parts: Sequence[Part]) -> SignedParts:
        """Take over the bytes of *parts*, and return where each goes; older requests for them end.

        Raises:
            Refused: ``not-direct``: they have to come through this server, or are here; or the upload is unknown,
                or takes no bytes; or the server stops.
        """
        self._store.refuse_when_stopping()
        record = self._store.find(device, upload_id)
        refuse_unless_open(record)
        for part in parts:
            self._refuse_unfit(record, part.range)
        # A few more may stand, asked for at the same moment.
        if self._store.state.count_claims(record.id) + len(parts) > MOST_SIGNED:
            detail = (
                f"{MOST_SIGNED} parts are signed and not reported: send these bytes to the server"
            )
            raise Refused("not-direct", detail, missing=missing_of(record))
        claims: list[Claim] = []
        try:
            with self._store.live.hold(record.id) as live:
                _end_writers(live, [part.range for part in parts])
                signed = tuple(self._sign(record.id, part, claims) for part in parts)
        except BaseException as error:
            for claim in claims:
                self._store.state.release(claim)
            if isinstance(error, OSError):
                raise refused_by_disk(error) from error
            raise
        return SignedParts(signed, EXPIRES_S)

    def _refuse_unfit(self, record: UploadRecord, where: ByteRange) -> None:
        most, length = self.part_bytes(record), record.length
        if most is None or length is None:
            raise Refused("not-direct", "the bytes of this upload come through the server")
        if where.stop > length:
            detail = f"the part ends at byte {where.stop}, the file has {length}"
            raise Refused("invalid-range", detail, missing=missing_of(record))
        if where.start // most != (where.stop - 1) // most:
            raise Refused("not-direct", f"a part lies between two multiples of {most} bytes")

    def _sign(self, upload_id: str, part: Part, claims: list[Claim]) -> SignedPart:
        claim, record = self._store.state.claim(upload_id, part.range)
        claims.append(claim)
        refuse_unless_open(record)
        # Looked at under the claim: nobody else records any of them while it stands.
        if record.received.within(part.range):
            detail = f"some of the bytes {part.range.start} to {part.range.stop} are here"
            raise Refused("not-direct", detail, missing=missing_of(record))
        put = self._store.blobs.sign_direct(claim, part.digest, EXPIRES_S)
        if put is None:
            raise Refused("not-direct", "the server's store takes nothing from devices")
        return SignedPart(part.range, part.digest, put.name, put.url, put.headers)

    def take(self, device: str | None, upload_id: str, parts: Sequence[SentPart]) -> UploadRecord:
        """Record those of *parts* that are not, once the store itself says that it has them. Repeatable.

        Returns:
            The upload as it is then; all of *parts* are durable and recorded.

        Raises:
            Refused: ``not-direct``: the store has not got one as it was signed; ``superseded``: a newer request
                has taken its bytes over; or the upload is unknown, or takes no bytes; or the server stops.
                Nothing of *parts* is recorded then.
        """
        self._store.refuse_when_stopping()
        record = self._store.find(device, upload_id)
        refuse_unless_open(record)
        new = [part for part in dict.fromkeys(parts) if not record.received.covers(part.range)]
        try:
            claims = [self._claim_of(record, part) for part in new]
        except OSError as error:
            raise refused_by_disk(error) from error
        if not claims:
            return record
        admitted.question()()
        now_s = self._store.uptime.now_s()

        def job(transaction: Transaction) -> UploadRecord:
            kept = record
            for claim in claims:
                found = transaction.get_claimed(claim)
                kept = replace(found, received=with_received(found, claim.where), touched_s=now_s)
                transaction.save(kept)
            return kept

        try:
            with self._store.seals.of(record.device):
                kept = self._store.state.run(job)
        except Refused as refused:
            missing = refused.missing
            with suppress(Refused):
                now = self._store.state.get(record.id)
                missing = missing_of(now) if now.state is State.OPEN else missing
            raise refused.again(missing) from refused
        for claim in claims:
            self._store.state.release(claim)
        count = sum(claim.where.length for claim in claims)
        self._store.observer.bytes_received(count)
        self._store.observer.bytes_came_direct(count)
        return kept

    def _claim_of(self, record: UploadRecord, part: SentPart) -> Claim:
        claim = self._store.blobs.has_direct(record.id, part.part, part.range, part.digest)
        if claim is None:
            where = part.range
            log.warning("part.not_there", upload_id=record.id, start=where.start, stop=where.stop)
            raise Refused(
                "not-direct",
                f"the store does not have the bytes {where.start} to {where.stop} as they were signed: send "
                "them to the server",
                missing=missing_of(record),
            )
        return claim


def _end_writers(live: Live, ranges: Sequence[ByteRange]) -> None:
    """Let no request of this process write bytes that are about to be claimed; those elsewhere find out."""
    for writer in live.writers():
        if any(writer.where.intersects(where) for where in ranges):
            writer.cancel(Refused("superseded", "a newer request sends these bytes"))
