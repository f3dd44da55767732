"""The second step of a move: published files are copied to the bucket, beside the server that runs.

Each file is read once where it was and held against its receipt, before there is an object; the object is read
back whole before it counts as carried over. Nothing is taken away where it was. What is killed goes on where it was.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_host.clock import Clock, rfc3339
from ingest_server.assembly.pace import Pace
from ingest_server.core.errors import ServerError, StorageError
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.interface import Part, Reading, StateStore
from ingest_server.storage.sql.relocation import BEGINNING, Relocation
from ingest_server.uploads.placing import told_beside
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

if TYPE_CHECKING:
    from ingest_server.storage.s3.blobs import S3Blobs

AT_ONCE = 4
"""Files at work: of a small one most is waiting."""
PAGE = 64
READ_BYTES = 1 << 20
TRIED_BYTES = 8 << 20
WAITS_S = (0.0, 5.0, 30.0)
"""Between the tries of one file. Each request has been repeated by then, with pauses of its own."""
LOCK = "moving.lock"

_PASSING = {errno.EBUSY, errno.EBADMSG}
"""The store or the way to it is away, or bytes changed on the way."""


class SpoiledError(Exception):
    """A file cannot be copied as what its receipt says; the message says why."""


class GoneError(Exception):
    """A published file is in neither place: somebody has moved it away."""


@dataclass
class Copied:
    """What was done so far."""

    files: int = 0
    length: int = 0
    """In bytes."""
    gone: int = 0
    """Files that are in neither place."""
    spoiled: int = 0
    """Files that could not be copied as what their receipts say."""


class FilesMove:
    """Copies the files of one server."""

    def __init__(
        self,
        state: StateStore,
        relocation: Relocation,
        before: FileBlobs,
        now: S3Blobs,
        *,
        clock: Clock,
        pace: Pace,
        tell: Callable[[str], None],
        watch: Callable[[Copied], None],
    ) -> None:
        """Begin.

        Args:
            tell: is given a sentence about each file that cannot be copied.
            watch: is given what was done so far, after each file; one call at a time.
        """
        self._state, self._relocation = state, relocation
        self._before, self._now = before, now
        self._clock, self._pace, self._tell, self._watch = clock, pace, tell, watch
        self._lock = threading.Lock()
        self.done = Copied()

    def run(self) -> list[str]:
        """Copy what is there, and forget the relocation once nothing can come any more.

        Returns:
            Uploads that have not ended, and will where they began.

        Raises:
            ServerError: a place failed; what was copied until then is remembered.
            Refused: the database failed.
        """
        # First: what ends from here on is found by the pass that follows.
        unfinished = self._relocation.unfinished(self._before.part_ids())
        self._pass()
        if not unfinished and not self.done.spoiled:
            self._relocation.end()
        return unfinished

    def _pass(self) -> None:
        place = BEGINNING
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="carry")
        try:
            while page := self._relocation.after(place, PAGE):
                for _ in pool.map(self._one, [receipt for _, receipt in page]):
                    pass
                place = page[-1][0]
        except BaseException:
            self._pace.end()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _one(self, receipt: Receipt) -> None:
        try:
            self._carry_in_the_end(receipt)
        except GoneError:
            with self._lock:
                self.done.gone += 1
            self._tell(
                f"gone: {receipt.published_as} is in neither place: somebody has moved it away"
            )
        except SpoiledError as error:
            with self._lock:
                self.done.spoiled += 1
            self._tell(f"not copied: {receipt.published_as}: {error}")
        except OSError as error:
            raise StorageError(
                f"{self._now.place} failed at {receipt.published_as}: {error.strerror or error}. What was "
                "copied until then stays; mend that, and run this again: it goes on where it was"
            ) from error

    def _carry_in_the_end(self, receipt: Receipt) -> None:
        """Carry a file, once more where the store or the way to it failed for the moment."""
        for wait_s in WAITS_S:
            try:
                return self._carry(receipt)
            except OSError as error:
                if error.errno not in _PASSING:
                    raise
            self._pace.wait(wait_s)
        return self._carry(receipt)

    def _carry(self, receipt: Receipt) -> None:
        target = receipt.published_as
        owner = _owner_of(self._now.identity(target))
        is_before = self._before.is_taken(target)
        if owner is None:
            if not is_before:
                raise GoneError
            self._copy(receipt)
        elif not is_before:
            if owner != receipt.upload_id:
                raise GoneError
            self._relocation.note(receipt.upload_id, None)  # it was published there
            return
        elif owner != receipt.upload_id:
            raise SpoiledError(
                f"{self._now.place} has another object of that name, which is left. Move it away, and run "
                "this again"
            )
        if not self._is_verified(receipt):
            self._copy(receipt)
            if not self._is_verified(receipt):
                raise SpoiledError("the store gives back other bytes than it was sent, twice")

    def _copy(self, receipt: Receipt) -> None:
        record = self._state.find(receipt.upload_id)
        if record is None:  # forgotten meanwhile, and so is its file
            raise GoneError
        try:
            source = self._before.open_published(receipt.published_as)
        except OSError as error:
            raise SpoiledError(_unreadable(error)) from error
        try:
            self._now.take_in(
                receipt.upload_id,
                receipt.published_as,
                receipt.length,
                partial(self._chunks, source, receipt),
                told_beside(record, receipt),
            )
        except NotADirectoryError as error:
            raise SpoiledError(
                "its name is longer than that of an object can be (1024 bytes). It stays where it is, "
                "and is served from there as long as [storage] before is set"
            ) from error
        finally:
            source.close()

    def _chunks(self, source: Part, receipt: Receipt, size: int) -> Iterator[bytes]:
        """Yield the bytes of a file, *size* at once.

        Raises:
            SpoiledError: they are not what the receipt says; before the last of them counts.
        """
        hasher, at = hashlib.sha256(), 0
        while True:
            try:
                chunk = source.pread(size, at)
            except OSError as error:
                raise SpoiledError(_unreadable(error)) from error
            if not chunk:
                break
            hasher.update(chunk)
            at += len(chunk)
            self._pace.take(len(chunk))
            yield chunk
        source.forget_cached()  # nor push out what the server needs
        found = Digest(hasher.digest())
        if (at, found) != (receipt.length, receipt.digest):
            raise SpoiledError(
                f"it is damaged where it was: {at} bytes with {found}, and its receipt says {receipt.length} "
                f"bytes with {receipt.digest}. `ingest-server verify` sets it aside"
            )

    def _is_verified(self, receipt: Receipt) -> bool:
        """Read the object, and remember it where it is right; else it is taken away."""
        target = receipt.published_as
        with closing(self._now.open_published(target)) as part:
            identity, hasher, at = part.identity() or "", hashlib.sha256(), 0
            while chunk := part.pread(READ_BYTES, at):
                self._pace.take(len(chunk))
                hasher.update(chunk)
                at += len(chunk)
        found = Digest(hasher.digest())
        if (at, found) != (receipt.length, receipt.digest):
            self._now.remove_published(target, identity)
            return False
        read_at = rfc3339(self._clock.now_utc())
        reading = Reading(receipt.upload_id, identity, found, "", self._state.uptime_s(), read_at)
        if self._relocation.note(receipt.upload_id, reading):
            with self._lock:
                self.done.files += 1
                self.done.length += at
                self._watch(self.done)
        else:
            self._now.remove_published(target, identity)  # the server has given it up meanwhile
        return True


def tried_rate(bucket: S3Blobs, clock: Clock) -> int:
    """Return the bytes per second that one object came and went with.

    Raises:
        OSError: the store failed.
    """
    begun_s = clock.now_s()
    bucket.try_rate(secrets.token_bytes(TRIED_BYTES))
    return int(2 * TRIED_BYTES / max(1e-3, clock.now_s() - begun_s))


def look_at_source(folder: Path) -> FileBlobs:
    """Return the files of *folder*, to be read beside the server that has it.

    Raises:
        StorageError: it cannot be read.
    """
    found = FileBlobs(folder)
    found.look()
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let no second command copy from that folder.

    Raises:
        ServerError: one does.
    """
    try:
        with (folder / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise ServerError(
            f"Another `ingest-server migrate` copies from {folder}: wait until it has ended"
        ) from error


def _owner_of(identity: str | None) -> str | None:
    return None if identity is None else identity.partition(":")[0]


def _unreadable(error: OSError) -> str:
    said = "it is a link, or no file" if error.errno == errno.ELOOP else error.strerror or error
    return f"it cannot be read where it was ({said})"
