"""Two stores of bytes as one, while files move from the first to the second.

What begins, begins in the second. An upload that has bytes in the first ends there, and so does the file that it
becomes. A published file is looked for in the second, then in the first; somebody else copies it meanwhile. A name
is free where it is free in both.

The first is never cleared: who takes away a file that was copied takes away the copy.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from ingest_server.core.routes import ELSEWHERE
from ingest_server.storage.interface import Blobs, Claim, Level, Link, Part, SignedPut
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange


class MovingBlobs(Blobs):
    """The second store, with what is still in the first."""

    def __init__(self, before: Blobs, now: Blobs) -> None:
        self.before, self.now = before, now
        # What either makes anew has to be read: of a file that only got a name it is one reading too many.
        self.is_made_anew = now.is_made_anew
        self.border_bytes = now.border_bytes

    def prepare(self) -> None:
        self.before.prepare()
        try:
            self.now.prepare()
        except BaseException:
            self.before.close()
            raise

    def look(self) -> None:
        self.before.look()
        try:
            self.now.look()
        except BaseException:
            self.before.close()
            raise

    def close(self) -> None:
        self.now.close()
        self.before.close()

    def identify(self, agree: Callable[[str], str] = str) -> str | None:
        return self.now.identify(agree)

    def is_begun(self) -> bool:
        return self.now.is_begun()  # whoever moved the facts has begun it

    def check_identity(self, target: str) -> None:
        if not _is_elsewhere(target):
            self.before.check_identity(target)
        self.now.check_identity(target)

    def probe(self) -> None:
        self.now.probe()

    def look_around(self) -> None:
        self.now.look_around()

    def away(self) -> list[str]:
        return self.now.away()

    def try_out(self) -> Iterator[str]:
        return self.now.try_out()

    def free_bytes(self) -> int:
        return self.now.free_bytes()

    def files(self) -> Level | None:
        return self.now.files()

    def _of_upload(self, upload_id: str) -> Blobs:
        return self.now if self.before.part_length(upload_id) is None else self.before

    def create_part(self, upload_id: str, place: str = "") -> None:
        """Begin an upload in the second store; durable on return.

        Raises:
            FileExistsError: it was begun before, in either.
        """
        if self.before.part_length(upload_id) is not None:
            raise FileExistsError(errno.EEXIST, "the upload was begun before", upload_id)
        self.now.create_part(upload_id, place)

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        return self._of_upload(upload_id).open_part(upload_id, claim)

    def sign_direct(self, claim: Claim, digest: Digest, for_s: float) -> SignedPut | None:
        return self._of_upload(claim.upload_id).sign_direct(claim, digest, for_s)

    def has_direct(
        self, upload_id: str, name: str, where: ByteRange, digest: Digest
    ) -> Claim | None:
        return self._of_upload(upload_id).has_direct(upload_id, name, where, digest)

    def date_part(self, upload_id: str, modified_at: datetime) -> None:
        self._of_upload(upload_id).date_part(upload_id, modified_at)

    def part_length(self, upload_id: str) -> int | None:
        length = self.before.part_length(upload_id)
        return self.now.part_length(upload_id) if length is None else length

    def remove_part(self, upload_id: str) -> None:
        self._of_upload(upload_id).remove_part(upload_id)

    def part_ids(self) -> list[str]:
        return sorted({*self.before.part_ids(), *self.now.part_ids()})

    def is_fresh(self, upload_id: str) -> bool:
        return self._of_upload(upload_id).is_fresh(upload_id)

    def set_aside(self, upload_id: str) -> None:
        self._of_upload(upload_id).set_aside(upload_id)

    def lend_path(self, upload_id: str) -> AbstractContextManager[Path]:
        return self._of_upload(upload_id).lend_path(upload_id)

    def part_identity(self, upload_id: str) -> str | None:
        return self._of_upload(upload_id).part_identity(upload_id)

    def stage(self, upload_id: str, is_stopping: Callable[[], bool]) -> Part | None:
        return self._of_upload(upload_id).stage(upload_id, is_stopping)

    def publish(self, upload_id: str, target: str, about: Mapping[str, str] | None = None) -> bool:
        """As `Blobs` says; false also where the other store has another file of that name."""
        here = self._of_upload(upload_id)
        if _is_elsewhere(target):
            return here.publish(upload_id, target, about)
        there = self.before if here is self.now else self.now
        return not there.is_taken(target) and here.publish(upload_id, target, about)

    def is_published_as(self, upload_id: str, target: str) -> bool:
        return self._of_upload(upload_id).is_published_as(upload_id, target)

    def _of_file(self, target: str) -> Blobs:
        return self.now if _is_elsewhere(target) or self.now.is_taken(target) else self.before

    def is_taken(self, target: str) -> bool:
        return self.now.is_taken(target) or (
            not _is_elsewhere(target) and self.before.is_taken(target)
        )

    @property
    def can_publish_again(self) -> bool:
        return False

    def respelled(self, target: str) -> str:
        known = target if _is_elsewhere(target) else self.before.respelled(target)
        return self.now.respelled(known)

    def has_twin(self, target: str) -> bool:
        return self.now.has_twin(target) or (
            not _is_elsewhere(target) and self.before.has_twin(target)
        )

    def may_have_twin(self, target: str) -> bool:
        return self.now.may_have_twin(target) or (
            not _is_elsewhere(target) and self.before.may_have_twin(target)
        )

    def sync_published(self, target: str) -> None:
        self._of_file(target).sync_published(target)

    def announce(self, target: str, *, is_late: bool = False) -> None:
        if not _is_elsewhere(target):
            self.before.announce(target, is_late=is_late)  # nobody watches the other

    def open_published(self, target: str) -> Part:
        try:
            return self.now.open_published(target)
        except FileNotFoundError:
            return self.before.open_published(target)

    def link_to(self, target: str, wanted: Link) -> str | None:
        return self._of_file(target).link_to(target, wanted)

    def is_published(self, target: str, length: int) -> bool:
        return self.now.is_published(target, length) or self.before.is_published(target, length)

    def published_names(self) -> Iterator[str]:
        yield from self.now.published_names()
        yield from (name for name in self.before.published_names() if not self.now.is_taken(name))

    def publish_again(self, source: str, target: str) -> bool:
        return self._of_file(source).publish_again(source, target)

    def lend_published(self, target: str) -> AbstractContextManager[Path]:
        return self._of_file(target).lend_published(target)

    def identity(self, target: str) -> str | None:
        found = self.now.identity(target)
        return self.before.identity(target) if found is None else found

    def is_unwritten(self, before: str, after: str) -> bool:
        # The forms differ: what one store has said is never true in the other's.
        return self.now.is_unwritten(before, after) or self.before.is_unwritten(before, after)

    def remove_published(self, target: str, identity: str) -> bool:
        """As `Blobs` says; of a file in the first store its copy goes too, which came meanwhile."""
        if self.before.identity(target) != identity:
            return self.now.remove_published(target, identity)
        copy = self.now.identity(target)
        if copy is not None:
            self.now.remove_published(target, copy)
        return self.before.remove_published(target, identity)

    def copy_to_quarantine(self, target: str) -> str:
        return self._of_file(target).copy_to_quarantine(target)

    def is_in_quarantine(self, target: str) -> bool:
        return self.now.is_in_quarantine(target) or self.before.is_in_quarantine(target)

    def withdraw(self, target: str) -> None:
        """As `Blobs` says: from where it is in quarantine, so that asked again it takes no other."""
        place = self.now if self.now.is_in_quarantine(target) else self.before
        place.withdraw(target)


def _is_elsewhere(target: str) -> bool:
    """Whether a rule names a bucket of its own for it: the first store has no such files."""
    return target.startswith(ELSEWHERE)
