"""A second thread for SHA-256: a request that comes alone receives and writes while its bytes are hashed.

Hashing takes a third of the time of its thread, and the disk, the commit and the answer need not wait
for it: what is acknowledged is durable, and the hash is asked for when the upload is completed. Where
several requests come at once they fill the cores by themselves; each then hashes its own.
"""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import Final

import structlog

from ingest_server.base.settings import KIB
from ingest_server.uploads.hashing import PendingHash

LEAST_BYTES = 128 * KIB
"""A smaller piece is hashed sooner than handed over; a body of 512 KiB comes in pieces of this size."""
_CORES = 2

log = structlog.get_logger()


class _Piece:
    """Bytes to be hashed, which stay where they are until `wait` is through."""

    __slots__ = ("_data", "_is_whole", "_running", "_trail")

    def __init__(self, trail: PendingHash, data: memoryview) -> None:
        self._trail = trail
        self._data = data
        self._is_whole = False
        self._running = threading.Lock()
        self._running.acquire()

    def run(self) -> None:
        try:
            self._trail.update(self._data)
            self._is_whole = True
        except Exception as error:  # the file is hashed as it is stored instead
            log.exception("hash.failed", error=type(error).__name__)
        finally:
            self._running.release()

    def wait(self) -> bool:
        with self._running:
            return self._is_whole


class HashHelper:
    """The thread, begun with the first piece, and whose pieces it takes."""

    def __init__(self, cores: int | None = None) -> None:
        """*cores*: how many there are to work on; None: as many as this process may use."""
        self._pieces: Final[SimpleQueue[_Piece | None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._requests = 0
        """How many requests bring pieces that are worth it."""
        self._thread: threading.Thread | None = None
        self._is_off = (cores or len(os.sched_getaffinity(0))) < _CORES

    def of_request(self) -> Hashing:
        """Return what one request hashes by; whoever asked ends it."""
        return Hashing(self)

    def stop(self) -> None:
        """Hash what was handed over, and take no more."""
        with self._lock:
            self._is_off = True
            self._pieces.put(None)
            thread = self._thread
        if thread is not None:
            thread.join()

    def enter(self) -> None:
        with self._lock:
            self._requests += 1

    def leave(self) -> None:
        with self._lock:
            self._requests -= 1

    def take(self, trail: PendingHash, data: memoryview) -> _Piece | None:
        """Return the piece that is hashed from now on; None: whoever asks is to hash it."""
        with self._lock:
            if self._is_off or self._requests > 1 or not self._is_there():
                return None
            piece = _Piece(trail, data)
            self._pieces.put(piece)
            return piece

    def _is_there(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="hash-helper", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there is none to be had: it only helps
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            piece.run()


class Hashing:
    """How one request's bytes get into its trail. Not for several threads at once."""

    def __init__(self, helper: HashHelper) -> None:
        self._helper = helper
        self._is_counted = False
        self._piece: _Piece | None = None

    @property
    def is_beside(self) -> bool:
        """Whether bytes were handed over that nobody has waited for: they must stay where they are."""
        return self._piece is not None

    def update(self, trail: PendingHash, data: memoryview) -> None:
        """Hash *data*, at once or until `wait`, which is to be asked before each further piece.

        Raises:
            RuntimeError: an earlier piece was not waited for; a bug here.
        """
        if self._piece is not None:
            raise RuntimeError("a piece is hashed before the one in front of it")
        if len(data) >= LEAST_BYTES:
            if not self._is_counted:
                self._is_counted = True
                self._helper.enter()
            self._piece = self._helper.take(trail, data)
        if self._piece is None:
            trail.update(data)

    def wait(self) -> bool:
        """Wait for the bytes that were handed over; false where the trail lacks some, and is of no use."""
        piece, self._piece = self._piece, None
        return piece is None or piece.wait()

    def end(self) -> None:
        """Let go of the bytes, and of the helper."""
        self.wait()
        if self._is_counted:
            self._is_counted = False
            self._helper.leave()
