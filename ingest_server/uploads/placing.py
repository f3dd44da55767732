"""A verified upload gets a name that nobody has, and its receipt.

Each byte is written once: the part file gets a second name. The order, each step durable before
the next: state ``publishing`` with the target -> link -> folders -> state ``complete`` with the
receipt -> watchers are told -> the part's name goes. After a crash the same inode at the target says
how far it got, and a part that is still there that watchers may not have been told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import structlog

from ingest_server.base.turns import Places
from ingest_server.core.errors import Refused
from ingest_server.core.names import folded, joined
from ingest_server.core.record import State, UploadRecord
from ingest_server.core.routes import place_of
from ingest_server.uploads.earlier import Earlier
from ingest_server.uploads.moves import Moves, NameGivenError
from ingest_server.uploads.naming import Naming
from ingest_server.uploads.standing import Standings
from ingest_server.uploads.store import UploadStore, drop_part
from ingest_server.uploads.verify import Verifier
from upload_protocol.messages import Receipt

log = structlog.get_logger()

_FIT = re.compile(r"[!-~]{1,256}")
"""What is put beside a file becomes headers, and a device may have said anything."""


class Placing:
    """Gives names; whoever calls it holds the lock of the bytes (`publish`)."""

    def __init__(
        self,
        store: UploadStore,
        *,
        naming: Naming,
        moves: Moves,
        verifier: Verifier,
        earlier: Earlier,
        standings: Standings,
    ) -> None:
        self._observer = store.observer
        self._blobs = store.blobs
        self._naming = naming
        self._moves = moves
        self._verifier = verifier
        self._earlier = earlier
        self._standings = standings
        self._folders = Places(1)
        """Of each folder one name is given at a time, so that no two find the same one free."""

    @contextmanager
    def alone_beside(self, *targets: str) -> Iterator[None]:
        """Let nobody else give or take a name in the folders of these, however they are spelled.

        Whoever has some asks for no others: these are taken in one order.
        """
        with ExitStack() as held:
            for folder in sorted({folded(_folder_of(target)) for target in targets}):
                held.enter_context(self._folders.of(folder))
            yield

    def make_way(self, record: UploadRecord) -> tuple[str, bool]:
        """Make the folders of the name that is tried first, where they can be made.

        Returns:
            That name, its folders as they are spelled already, and whether one had to be made.
        """
        first, place = self._naming.first(record), place_of(record.route)
        *parents, leaf = (first if not place else first.removeprefix(f"{place}/")).split("/")
        way, has_made = joined(place, *parents), False
        if not self._blobs.is_taken(way):
            way = place
            for name in parents:
                with self.alone_beside(joined(way, name)):
                    found = self._blobs.respelled(joined(way, name, leaf))
                    has_made |= self._blobs.make_way(found)
                way = _folder_of(found)
        return joined(way, leaf), has_made

    def under_a_free_name(
        self,
        record: UploadRecord,
        receipt: Receipt,
        source: Receipt | None = None,
        *,
        before: str | None = None,
    ) -> Receipt:
        """Give the part file, or the published file of *source*, a name that nobody has.

        Args:
            before: what the part file was when it was verified.

        Raises:
            Refused: the file of *source* is not sound any more, or the database failed.
        """
        first, _ = self.make_way(record)
        try:
            conclude = self._link(record, receipt, first, source, before)
        except NotADirectoryError:
            # A published file stands where this one needs a folder; nobody has this folder.
            alone = joined(place_of(record.route), record.id, first.rpartition("/")[2])
            conclude = self._link(record, receipt, alone, source, before)
        return conclude()

    def _link(
        self,
        record: UploadRecord,
        receipt: Receipt,
        first: str,
        source: Receipt | None,
        before: str | None,
    ) -> Callable[[], Receipt]:
        """Give the name; what is returned does the rest, for which nobody has to wait."""
        folders = [first] if source is None else [first, source.published_as]
        with self.alone_beside(*folders):
            if source is not None and not self._earlier.is_sound(source, may_read=False):
                raise Refused("server-busy", "the published file has just changed", retry_after_s=1)
            return self._link_alone(record, receipt, first, source, before)

    def _link_alone(
        self,
        record: UploadRecord,
        receipt: Receipt,
        first: str,
        source: Receipt | None,
        before: str | None,
    ) -> Callable[[], Receipt]:
        has_twins = False

        def is_twin(name: str) -> bool:
            # Asked only where there are some: what is taken away leaves its number free else.
            return has_twins and self._blobs.may_have_twin(name)

        for target in self._naming.candidates(record, first, is_twin):
            named = replace(receipt, published_as=target)
            if self._blobs.is_taken(target):
                if self._earlier.is_forgotten(record, named):
                    return partial(self.adopt, record, named)
                continue
            if self._blobs.has_twin(target):
                has_twins = True
                continue
            if source is not None:
                if self._blobs.publish_again(source.published_as, target):
                    return partial(self._conclude_from, record, named)
                continue
            try:
                record = self._moves.to(
                    record, State.PUBLISHING, digest=receipt.digest, target=target, receipt=named
                )
            except NameGivenError:
                continue
            if self._blobs.publish(record.id, target, told_beside(record, named)):
                return partial(self.conclude, record, named, before)
        raise AssertionError("the candidates never end")

    def conclude(self, record: UploadRecord, receipt: Receipt, before: str | None) -> Receipt:
        """Complete a linked upload; *before*: what its part was when it was verified.

        Raises:
            Refused: it is not that any more; the upload has failed, and the file is left.
        """
        self._blobs.sync_published(receipt.published_as)
        if self._blobs.is_made_anew:
            before = self._verifier.read_published(receipt)
        now = self._blobs.identity(receipt.published_as)
        if None not in {before, now} and not self._blobs.is_unwritten(str(before), str(now)):
            raise self._verifier.fail(record, receipt, "it was written to")
        self._vouch(receipt, before, is_final=False)
        try:
            self._complete(record, receipt, is_new=True)
        except BaseException:
            self._standings.forget(receipt.upload_id)
            raise
        # Once more: taking the part's name away has changed the inode.
        self._vouch(receipt, before, is_final=True)
        return self._completed(record, receipt)

    def _conclude_from(self, record: UploadRecord, receipt: Receipt) -> Receipt:
        """Complete an upload whose name is there; a crash before leaves a file to be adopted."""
        self._blobs.sync_published(receipt.published_as)
        self._complete(record, receipt, is_new=True)
        return self._completed(record, receipt)

    def adopt(self, record: UploadRecord, receipt: Receipt, *, is_new: bool = False) -> Receipt:
        """Let the upload be complete with a file that is there already; durable on return.

        Args:
            is_new: watchers may not have been told of it.
        """
        self._complete(record, receipt, is_new=is_new, is_late=True)
        self._observer.upload_completed()
        log.info(
            "upload.completed",
            upload_id=record.id,
            device_id=record.device,
            length_bytes=receipt.length,
            is_repeat=not is_new,
        )
        return receipt

    def _complete(
        self,
        record: UploadRecord,
        receipt: Receipt,
        *,
        is_new: bool,
        is_late: bool = False,
    ) -> None:
        """Let the upload be complete; durable before its part goes.

        Args:
            is_new: its file has just been published: announced while the part says, to the next
                start, that this may not have been done.
            is_late: it has had its name for longer.
        """
        self._moves.to(
            record,
            State.COMPLETE,
            length=receipt.length,
            digest=receipt.digest,
            target=receipt.published_as,
            receipt=receipt,
        )
        self._earlier.published_now()
        if is_new:
            self._blobs.announce(receipt.published_as, is_late=is_late)
        drop_part(self._blobs, record.id)

    def _vouch(self, receipt: Receipt, before: str | None, *, is_final: bool) -> None:
        identity = self._blobs.identity(receipt.published_as)
        if (
            identity is not None
            and before is not None
            and self._blobs.is_unwritten(before, identity)
        ):
            self._standings.note(receipt.upload_id, receipt.digest, identity, is_final=is_final)
        elif is_final:
            self._standings.forget(receipt.upload_id)

    def _completed(self, record: UploadRecord, receipt: Receipt) -> Receipt:
        self._observer.upload_completed()
        log.info(
            "upload.completed",
            upload_id=record.id,
            device_id=record.device,
            length_bytes=receipt.length,
            path=receipt.published_as,
        )
        return receipt


def told_beside(record: UploadRecord, receipt: Receipt) -> dict[str, str]:
    """Return what a reader of the file alone is told of it."""
    told = {
        "sha256": receipt.digest.value.hex(),
        "device": record.device,
        "verified-against": receipt.verified_against,
        "modified-at": record.modified_at or "",
    }
    return {name: value for name, value in told.items() if _FIT.fullmatch(value)}


def _folder_of(target: str) -> str:
    return target.rpartition("/")[0]
