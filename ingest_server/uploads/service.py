"""The one way in: body -> part file -> durable -> ranges recorded -> acknowledged.

    store = UploadStore.open(state, blobs, clock)       # holds the data folder
    uploads = UploadService(store, ReceiverSettings())  # whole: every call below works now
    status, is_new = uploads.creation.create("cam-1", key, CreateRequest("a.mp4", length=8))
    uploads.receive("cam-1", status.id, where, body)    # in any order, some at once, repeatable
    uploads.status("cam-1", status.id)                  # what is durable, and what is missing
    uploads.complete("cam-1", status.id, CompleteRequest(8, digest))  # until it is a `Receipt`
    uploads.stop()                                      # cut what runs, seal what has come
    store.close()

What every protocol needs is a method here. What only some do is one of a part, which looks by itself
whether it may: `creation`, `lengths`, `direct`, `concatenation`, `blocks`, `listing`, `expiry`.
Around it `upkeep.housekeeper` mends what an earlier run left. What may be done is decided in
`core.record`, who writes in `writers`, when a file appears in `publish`. Not supported: two processes
on one data folder, and bytes for an upload that is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

from ingest_server.auth import admitted
from ingest_server.auth.audit import Audit, Unaudited
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused
from ingest_server.core.names import NameTemplate
from ingest_server.core.record import State, refuse_unless_there
from ingest_server.core.routes import Route
from ingest_server.uploads.aborting import Aborting
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
from ingest_server.uploads.lengths import Lengths
from ingest_server.uploads.listing import Listing
from ingest_server.uploads.live import Live
from ingest_server.uploads.long_work import LongWork
from ingest_server.uploads.new_uploads import NewUploads
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.publish import BeforePublish, Publisher, allow_all
from ingest_server.uploads.receive import BodyReceiver
from ingest_server.uploads.records import Records
from ingest_server.uploads.seeding import Seeding
from ingest_server.uploads.standing import Standings
from ingest_server.uploads.status import Statuses
from ingest_server.uploads.store import UploadStore, stopped
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, Receipt, UploadStatus

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
        self._store = store
        self.clock = store.clock
        self._audit = audit = audit or Unaudited()

        def now() -> ReceiverSettings:
            return self.settings

        def wait_s() -> float:
            return self.settings.verify_wait_s

        self.records = Records(store)
        self.standings = Standings(store, trusted_for_s=lambda: self.settings.scrub_s)
        template = NameTemplate(settings.name_template)
        self.publisher = Publisher(
            store, self.standings, template, before_publish, lead_s=settings.folder_lead_s
        )
        earlier, told = self.publisher.earlier, self.publisher.naming.told
        self._readers = FairPool(READERS, 1, "read")
        self.finishing = Finishing(store, self.publisher, self._readers)
        self._completion = Completion(store, self.publisher, self.finishing)
        self.long_work = LongWork()
        self.direct = Direct(store, direct)
        read_later, part_bytes = self.finishing.begin_reading, self.direct.part_bytes
        self.statuses = Statuses(
            store, self.standings, read_later, now, direct=part_bytes, told=told
        )
        self.listing = Listing(self.records, self.statuses)
        self.expiry = Expiry(store, now)
        self._aborting = Aborting(store, audit)
        self._giving_way = GivingWay(store, self.expiry, self.long_work.is_at)
        self._receiver = BodyReceiver(store, now)
        self._seeding = Seeding(store, self._receiver, earlier, wait_s=wait_s)
        new = NewUploads(store, routes)
        claiming = Claiming(store, new, earlier, self._completion, self._seeding)
        giving_way, statuses = self._giving_way, self.statuses
        self.creation = Creation(
            store, new, claiming, giving_way, statuses, settings=now, audit=audit
        )
        self.lengths = Lengths(store, giving_way, now)
        self.concatenation = Concatenation(store, self._receiver)
        self.blocks = Blocks(store, self._readers, wait_s=wait_s)

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
        return self.statuses.asked(record)

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
        return self.statuses.of(kept)

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
            outcome = self._completion.complete(
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
        """End the upload; ``aborted`` is durable before its bytes are removed. Repeatable.

        Raises:
            Refused: it is unknown, has ended otherwise, or is being published.
        """
        return self.statuses.of(self._aborting.abort(device, upload_id))
