"""The one way in: body -> part file -> durable -> ranges recorded -> acknowledged.

    store = UploadStore.open(state, blobs, clock)       # holds the data folder
    uploads = UploadService(store, ReceiverSettings())  # whole: every call below works now
    status, is_new = uploads.create("cam-1", key, CreateRequest("a.mp4", length=8))
    uploads.receive("cam-1", status.id, where, body)    # in any order, some at once, repeatable
    uploads.status("cam-1", status.id)                  # what is durable, and what is missing
    uploads.complete("cam-1", status.id, CompleteRequest(8, digest))  # until it is a `Receipt`
    uploads.stop()                                      # cut what runs, seal what has come
    store.close()

Around it `upkeep.housekeeper` mends what an earlier run left. Here parts are only joined: what may
be done is decided in `core.record`, who writes in `writers`, when a file appears in `publish`. Not
supported: two processes on one data folder, and bytes for an upload that is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeVar

from ingest_server.auth import admitted
from ingest_server.auth.audit import Audit, Unaudited
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused
from ingest_server.core.names import NameTemplate
from ingest_server.core.record import State, UploadRecord, refuse_unless_open, refuse_unless_there
from ingest_server.core.routes import Route
from ingest_server.uploads.arriving import Arriving
from ingest_server.uploads.blocks import Blocks
from ingest_server.uploads.body import Body
from ingest_server.uploads.claiming import Claiming
from ingest_server.uploads.completion import Completion
from ingest_server.uploads.concatenation import Concatenation
from ingest_server.uploads.creation import Creation
from ingest_server.uploads.direct import Direct
from ingest_server.uploads.expiry import Expiry
from ingest_server.uploads.fair_pool import FairPool
from ingest_server.uploads.finishing import Finishing
from ingest_server.uploads.giving_way import GivingWay
from ingest_server.uploads.grouping import Grouping
from ingest_server.uploads.handing_out import HandingOut
from ingest_server.uploads.limits import HeldByOthersError, learn_length
from ingest_server.uploads.listing import page_of
from ingest_server.uploads.live import Live
from ingest_server.uploads.long_work import LongWork
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.publish import BeforePublish, Publisher, allow_all
from ingest_server.uploads.receive import BodyReceiver
from ingest_server.uploads.records import Records
from ingest_server.uploads.seeding import Seeding
from ingest_server.uploads.standing import Standings
from ingest_server.uploads.status import Statuses
from ingest_server.uploads.store import UploadStore, stopped
from upload_protocol.digests import Digest
from upload_protocol.direct import Part, SentPart, SignedParts
from upload_protocol.headers import ContentRange
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    Receipt,
    UploadStatus,
)

_Made = TypeVar("_Made")

READERS = 2
"""Whole files, or many blocks, read at once, those of one device one after the other: each keeps a
disk and a core busy, and nobody else waits for it."""


class UploadService:
    """The uploads of one data folder."""

    def __init__(
        self,
        store: UploadStore,
        settings: ReceiverSettings,
        *,
        before_publish: BeforePublish = allow_all,
        audit: Audit | None = None,
        routes: Sequence[Route] = (),
        direct: AbstractSet[str] = frozenset(),
    ) -> None:
        """Join the parts; `stop` ends it, and leaves *store* to whoever opened it.

        Args:
            settings: may be replaced at any time; only its ``name_template`` is read just once.
            before_publish: asked about each verified file; it may refuse to have it published.
            audit: where it is noted who made, completed or aborted what; None: nowhere.
            routes: where uploads go, by the first that fits; where none does, with all others.
            direct: what the routes begin with on which devices may send to the store themselves.

        Raises:
            ValueError: the name template cannot be used.
        """
        self.settings = settings
        self.records = Records(store)
        self.standings = Standings(store, trusted_for_s=lambda: self.settings.scrub_s)
        template = NameTemplate(settings.name_template)
        self.publisher = Publisher(
            store, self.standings, template, before_publish, lead_s=settings.folder_lead_s
        )
        self._readers = FairPool(READERS, 1, "read")
        self.finishing = Finishing(store, self.publisher, self._readers)
        self.completion = Completion(store, self.publisher, self.finishing)
        self.long_work = LongWork()
        self.handing_out = HandingOut(
            store, self.standings, self.long_work, lambda: self.settings.verify_wait_s
        )
        self.arriving = Arriving(store)
        read_later = self.finishing.begin_reading
        self._direct = Direct(store, direct)
        self._statuses = Statuses(
            store,
            self.standings,
            read_later,
            lambda: self.settings,
            direct=self._direct.part_bytes,
            told=self.publisher.naming.told,
        )
        self.grouping = Grouping(store, self)
        self._store = store
        self._audit = audit or Unaudited()
        self._expiry = Expiry(store)
        self._giving_way = GivingWay(store, self._expiry, self.long_work.is_at)
        self._receiver = BodyReceiver(store, lambda: self.settings)
        self._concatenation = Concatenation(store, self._receiver)
        self._creation = Creation(store, routes)
        earlier, wait_s = self.publisher.earlier, lambda: self.settings.verify_wait_s
        self._seeding = Seeding(store, self._receiver, earlier, wait_s=wait_s)
        self._claiming = Claiming(store, self._creation, earlier, self.completion, self._seeding)
        self._blocks = Blocks(store, self._readers, wait_s=lambda: self.settings.verify_wait_s)

    def stop(self) -> None:
        """Cut what still runs and seal it; nothing new begins. Repeatable.

        On return every byte that was written by then is recorded, as far as the disk allowed it.
        """
        self._store.stopping.set()
        for live in self._store.live.all():
            live.end_writers(stopped())
        self._readers.stop()
        self._seeding.stop()
        self.finishing.stop()
        self.long_work.stop()
        self._receiver.stop()

    def create(
        self, device: str, key: str, request: CreateRequest, *, beside: str | None = None
    ) -> tuple[UploadStatus, bool]:
        """Make an upload, or find the one that *key* has made; its row and part file are durable.

        Args:
            device: whose it is.
            key: what its client calls it, the same each time.
            request: what it is.
            beside: the id of an upload that it goes the same way as, whatever the rules say.

        Returns:
            The upload, and whether it was made now.

        Raises:
            Refused: the name, the length, the disk, the number of open uploads, or the key.
        """
        with self._audit.action("upload.create", device) as entry:
            self._store.refuse_when_stopping()
            record, is_new = self._once_others_gave_way(
                device,
                lambda: self._creation.create(device, key, request, self.settings, beside=beside),
            )
            entry.object = record.id
            entry.result = "ok" if is_new else "repeated"
            return self._statuses.made(record), is_new

    def claim(
        self,
        device: str,
        key: str,
        request: CreateRequest,
        *,
        has_left: Callable[[], bool] = bool,
    ) -> tuple[UploadStatus, bool, Pending | None]:
        """Make an upload as `create` does, and spare the bytes that its device has published.

        By the length and the digest in *request*. The upload is complete then: it was made and
        completed now, or is the earlier one of this very file. Or by what it extends, which is
        copied to its start, as long as the caller has not left.

        Returns:
            The upload; whether it is a new one that takes bytes; and whether it may turn out to need
            none, which the same request tells later.

        Raises:
            Refused: as `create`; or the operator's check refuses the file.
        """
        with self._audit.action("upload.create", device) as entry:
            self._store.refuse_when_stopping()
            found = self._once_others_gave_way(
                device, lambda: self._claiming.create(device, key, request, self.settings, has_left)
            )
            record = found.record
            entry.object = record.id
            is_new = found.is_new and record.state is State.OPEN
            entry.result = "ok" if found.is_new else "repeated"
            return self._statuses.made(record), is_new, found.pending

    def _once_others_gave_way(self, device: str, create: Callable[[], _Made]) -> _Made:
        while True:
            try:
                return create()
            except HeldByOthersError as refused:
                if not self._giving_way.let_one_go(refused, device):
                    raise self._giving_way.explained(refused, device) from refused

    def status(self, device: str | None, upload_id: str) -> UploadStatus:
        """Return the upload; all that had arrived when this was asked is durable and in it."""
        return self._settled(device, upload_id, Live.seal)

    def take_over(self, device: str | None, upload_id: str) -> UploadStatus:
        """End every running request for the upload, keep what they brought, return the status.

        For protocols with one sender at a time: whoever asks how far the upload is has given up
        its earlier request, and the offset it is told must hold until it goes on.
        """
        why = Refused("superseded", "its client asked how far the upload is")

        def end(live: Live) -> None:
            live.end_writers(why)
            self._store.state.end_claims(upload_id)  # of other services' writers too

        return self._settled(device, upload_id, end)

    def _settled(
        self, device: str | None, upload_id: str, settle: Callable[[Live], None]
    ) -> UploadStatus:
        record = self._store.find(device, upload_id)
        refuse_unless_there(record)
        if record.state is State.OPEN:
            with self._store.live.hold(upload_id) as live:
                settle(live)
            record = self._store.find(device, upload_id)
        return self._statuses.asked(record)

    def set_length(self, device: str | None, upload_id: str, length: int) -> None:
        """Fix the length of an upload created without one, as `learn_length`; durable on return."""
        record = self._store.find(device, upload_id)
        refuse_unless_open(record)
        with self._store.live.hold(upload_id) as live:
            # One that began without a length may be about to write past this one.
            live.end_writers(Refused("superseded", "a newer request tells the length"))
            self._store.state.end_claims(upload_id)
            with self._giving_way.to(upload_id):
                learn_length(
                    self._store.state,
                    upload_id,
                    length,
                    self.settings,
                    unrecorded=self._store.reaches.unrecorded_beside(record),
                )

    def receive(
        self,
        device: str | None,
        upload_id: str,
        where: ContentRange,
        body: Body,
        digest: Digest | Checksum | None = None,
        *,
        is_open_ended: bool = False,
    ) -> UploadStatus:
        """Take the bytes of one request; all of them are durable and recorded on return.

        A newer request for some of these bytes ends this one with ``superseded``. Whatever ends
        it, what had arrived is durable and recorded, unless a *digest* was to be checked first or the
        caller is not admitted any more.

        Args:
            is_open_ended: the body may end before *where* does, which is then only its limit. A
                body that goes on past it is refused, and never looks complete meanwhile.

        Raises:
            Refused: why it ended; it carries what is missing.
        """
        self._store.refuse_when_stopping()
        record = self._store.find(device, upload_id)
        expected = Checksum.of(digest) if isinstance(digest, Digest) else digest
        with self._giving_way.to(upload_id):
            kept = self._receiver.receive(
                record, where, body, expected, is_open_ended=is_open_ended
            )
        return self._statuses.of(kept)

    def sign_parts(self, device: str | None, upload_id: str, parts: Sequence[Part]) -> SignedParts:
        """Return where the store takes these bytes from the device itself; older requests for them end.

        Raises:
            Refused: ``not-direct``: they come by `receive`; or as `receive`.
        """
        self._store.refuse_when_stopping()
        return self._direct.sign(self._store.find(device, upload_id), parts)

    def take_parts(
        self, device: str | None, upload_id: str, parts: Sequence[SentPart]
    ) -> UploadStatus:
        """Record bytes that the store has got so; all of them are durable and recorded on return. Repeatable.

        Raises:
            Refused: ``not-direct``: the store has not got them; or as `receive`. None of them is recorded.
        """
        self._store.refuse_when_stopping()
        return self._statuses.of(self._direct.take(self._store.find(device, upload_id), parts))

    def concatenate(self, device: str | None, upload_id: str, sources: Sequence[str]) -> None:
        """Fill an upload with the bytes of whole others, in their order; durable on return.

        Copied by the kernel, which shares the blocks where the filesystem can. The running hash
        does not see the bytes: verifying reads them.

        Raises:
            Refused: one of them is unknown, not whole, or not open any more, or was copied as often
                as may be.
        """
        for source in dict.fromkeys(sources):
            refuse_unless_open(self._store.find(device, source))
            self.status(device, source)  # what still comes counts
        self._concatenation.fill(upload_id, sources)

    def let_expire(self, device: str | None, upload_id: str, within_s: float) -> None:
        """Let an open upload, no longer needed, end soon instead of after the idle time."""
        idle_s = self.settings.idle_expiry_s - within_s
        self._expiry.soon(self._store.find(device, upload_id), idle_s)

    def refuse_unless_open(self, device: str | None, upload_id: str) -> None:
        """Raise what whoever sends or compares bytes of it is told.

        Raises:
            Refused: it is not there, or it takes no bytes.
        """
        refuse_unless_open(self._store.find(device, upload_id))

    def blocks(
        self,
        device: str | None,
        upload_id: str,
        *,
        size: int,
        start: int,
        limit: int,
        has_left: Callable[[], bool] = bool,
    ) -> BlockDigests:
        """Return digests of fully received blocks, read from the disk; one caller at a time.

        Nothing more is read once the caller *has_left*.
        """
        record = self._store.find(device, upload_id)
        return self._blocks.read(record, size, start, limit, has_left)

    def complete(
        self, device: str | None, upload_id: str, request: CompleteRequest
    ) -> Receipt | Pending:
        """Verify and publish; with a receipt, the file and the receipt are durable on return.

        Repeatable. `Pending`: it goes on in the background.

        Raises:
            Refused: bytes are missing, or the length or digest does not fit, or who asks is not
                admitted any more; the upload is open.
        """
        with self._audit.action("upload.complete", device, upload_id) as entry:
            self._store.refuse_when_stopping()
            self._store.refuse_unless_of(device, upload_id)
            admitted.question()()
            outcome = self.completion.complete(
                upload_id,
                request,
                wait_s=self.settings.verify_wait_s,
                needs_digest=self.settings.require_digest,
            )
            if isinstance(outcome, Pending):
                entry.result = "pending"
                return outcome
            return self.publisher.naming.told(outcome)

    def abort(self, device: str | None, upload_id: str) -> UploadStatus:
        """End the upload; ``aborted`` is durable before its bytes are removed. Repeatable."""
        with self._audit.action("upload.abort", device, upload_id):
            return self._statuses.of(self._expiry.abort(self._store.find(device, upload_id)))

    def listing(
        self, device: str | None, *, state: str | None, after: str | None, limit: int
    ) -> tuple[list[UploadStatus], str | None]:
        """Return uploads in the order of their ids, and where to ask on (None at the end).

        At most *limit*, and no more than fit into `PAGE_BYTES`, but for one that does not by itself.
        """
        found = self.records.each(device, state, after)
        return page_of((self._statuses.of(record) for record in found), limit)

    def expire(self, *, early_s: float = 0.0) -> int:
        """End uploads that nobody goes on with; returns how many. Durable before bytes go."""
        return self._expiry.sweep(self.settings.idle_expiry_s - early_s)

    def vouched(self, record: UploadRecord) -> Receipt | None:
        """Return the receipt of a complete upload if it stands; see `Statuses.asked`."""
        return self._statuses.asked(record).receipt

    def known(self, record: UploadRecord) -> Receipt | None:
        """Return the receipt of a complete upload if it is known to stand; nothing is begun."""
        return self._statuses.of(record).receipt
