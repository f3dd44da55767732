"""The store of bytes: uploads while they arrive, and how they become published files (`published`).

A target is the name of a published file: a path of the form ``folder/.../leaf``, made by the server's
template, that holds nothing which leads elsewhere. No folder, descriptor or link of a store is known
outside of it, but for the one file that `lend_path` and `lend_published` lend.

Errors: a store that cannot do its work raises `OSError`, whatever it is made of, with the ``errno``
that fits (``ENOSPC`` where it is full). What such a call has done is unknown, and calling it again
is safe unless its docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ingest_server.storage.interface.part import Part
from ingest_server.storage.interface.published import PublishedBlobs
from ingest_server.storage.interface.rows import Claim, Level, SignedPut
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange

UNBOUNDED = 1 << 60


class Blobs(PublishedBlobs, Protocol):
    """Where bytes are kept.

    Takeover: once a `Claim` is superseded, what its hand still writes must not change a byte that a
    newer claim's hand wrote. A store in which hands share bytes (files) leaves that to the one
    process that may use it, which checks and writes under one lock; a store that several services
    share sees to it itself: it refuses the write, or lets bytes of a newer epoch hide it.
    """

    is_made_anew: bool = False
    """Whether `publish` makes bytes that nobody has read: they are read before there is a receipt."""
    border_bytes: int = UNBOUNDED
    """What is synced at once had best end at multiples of this: a store of objects makes parts of it."""

    def prepare(self) -> None:
        """Make the store fit for use; first of all calls, and only once until `close`.

        Raises:
            StorageError: it cannot hold uploads, or another server has it and it is no store for
                several; one sentence says why and what to do.
        """
        ...

    def look(self) -> None:
        """Open the store in place of `prepare`, for a command beside a server that may be running.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        self.prepare()

    def close(self) -> None:
        """Let go of the store. Repeatable."""
        ...

    def identify(self, agree: Callable[[str], str] = str) -> str | None:  # noqa: ARG002
        """Return what tells this store from any other, made where there is none yet; durable.

        None: it lies where the facts do, or is known by where it lies.

        Args:
            agree: is given what was made, and returns what all who begin at once are to take.
        """
        return None

    def is_begun(self) -> bool:
        """Whether a server has run with this store; one that is known by where it lies says so."""
        return True

    def check_identity(self, target: str) -> None:  # noqa: ARG002 # a store known by where it lies is there
        """Look whether where *target* is published is still what `identify` has named, and was not emptied.

        Raises:
            OSError: it is not, or cannot be asked.
        """
        return

    def probe(self) -> None:
        """Store a byte durably and remove it again."""
        ...

    def look_around(self) -> None:
        """Find out which places that rules lead to can be used now; called every few seconds."""
        return

    def away(self) -> list[str]:
        """Return one sentence for each place of a rule that cannot be used now; asks nobody."""
        return []

    def try_out(self) -> Iterator[str]:
        """Do all that will be asked of the store; yield what it does not do, and what that means.

        Raises:
            OSError: it cannot be used; it says why.
        """
        self.probe()
        yield from ()

    def try_direct(self) -> None:
        """Look whether the store keeps to what `sign_direct` signs; one that signs nothing does.

        Raises:
            StorageError: it does not.
            OSError: it cannot be used.
        """
        return

    def free_bytes(self) -> int:
        """Return how many more bytes may be stored; `UNBOUNDED`: the store tells of no end."""
        ...

    def files(self) -> Level | None:
        """Return how many files there are, and may be, with some places kept back; None: any number."""
        ...

    def create_part(self, upload_id: str, place: str = "") -> None:
        """Begin an upload; durable on return.

        Args:
            upload_id: its id.
            place: what its published name will begin with, where that is not in this store's own place.

        Raises:
            FileExistsError: it was begun before.
        """
        ...

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        """Return a hand on the bytes of an upload: to write as *claim*, or to read.

        Raises:
            FileNotFoundError: there is no such upload.
        """
        ...

    def sign_direct(
        self,
        claim: Claim,  # noqa: ARG002 # few stores are asked by others
        digest: Digest,  # noqa: ARG002
        for_s: float,  # noqa: ARG002
    ) -> SignedPut | None:
        """Return leave to store bytes as what *claim*'s hand would write; None: this store gives none.

        Once the claim is superseded, what is stored by it is hidden as its hand's would be.

        Args:
            claim: of just those bytes, no more than `border_bytes` and within two of its multiples.
            digest: of them: the store refuses others.
            for_s: how long a request by it may begin.

        Raises:
            OSError: none can be made.
        """
        return None

    def has_direct(
        self,
        upload_id: str,  # noqa: ARG002
        name: str,  # noqa: ARG002
        where: ByteRange,  # noqa: ARG002
        digest: Digest,  # noqa: ARG002
    ) -> Claim | None:
        """Return the claim under which the store itself says that it has just those bytes; None: it has not.

        Args:
            upload_id: whose bytes.
            name: as `sign_direct` has named them; somebody else says so.
            where: which bytes.
            digest: of them.

        Raises:
            OSError: the store failed.
        """
        return None

    def date_part(self, upload_id: str, modified_at: datetime) -> None:  # noqa: ARG002
        """Let the bytes of an upload, and the file that they become, carry this time, if it can.

        Not durable before `sync_published`; only what a person or a program sees of the file.
        """
        return

    def part_length(self, upload_id: str) -> int | None:
        """Return how far the bytes of an upload reach; None: it is not there."""
        ...

    def remove_part(self, upload_id: str) -> None:
        """Let the bytes of an upload go if they are there; what was published stays. Repeatable."""
        ...

    def part_ids(self) -> list[str]:
        """Return the ids of all uploads that have a place here, those nobody knows among them."""
        ...

    def is_fresh(self, upload_id: str) -> bool:  # noqa: ARG002 # one process begins, or starts
        """Whether an upload that nobody knows was begun a moment ago, so that its row may be to come."""
        return False

    def set_aside(self, upload_id: str) -> None:
        """Keep the bytes of an upload that nobody knows where a person finds them, out of the way.

        Two of one id are both kept.
        """
        ...

    def lend_path(self, upload_id: str) -> AbstractContextManager[Path]:
        """Lend the bytes of an upload as a local file, for a program of the operator's, and for nothing else.

        Files lend the part file itself; other stores a copy that is gone when the body is through. Only
        the ``before_publish`` hook gets it: what that is written around (a virus scanner, ffprobe) is
        another program, often of another user, which can open a path and no descriptor of this process.
        """
        ...

    def stage(self, upload_id: str, is_stopping: Callable[[], bool]) -> Part | None:  # noqa: ARG002 # most stores need nothing
        """Bring the synced bytes of an upload to where published ones are, if that is elsewhere.

        `publish` gives its name to what was staged last: durable on return.

        Returns:
            A hand to read them there; None: they are there already.

        Raises:
            Refused: the server stops.
        """
        return None

    def publish(self, upload_id: str, target: str, about: Mapping[str, str] | None = None) -> bool:
        """Give the synced bytes of an upload a published name; not durable before `sync_published`.

        Never overwrites. Repeatable: after a crash it is called again.

        Args:
            about: what is put beside the file for who reads it there, in ASCII, if the store can.

        Returns:
            False when another file has that name; True also when this upload had it already.

        Raises:
            NotADirectoryError: a file stands where *target* needs a folder.
            FileNotFoundError: it has to be staged first, and was not, or was published by that.
        """
        ...

    def is_published_as(self, upload_id: str, target: str) -> bool:
        """Whether *target* already stands for the bytes of this upload, which is still there too.

        False also where the store cannot know without reading both.
        """
        ...

    def part_identity(self, upload_id: str) -> str | None:
        """Return the identity of the bytes of an upload: `Part.identity`."""
        with closing(self.open_part(upload_id)) as part:
            return part.identity()
