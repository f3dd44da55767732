"""Whether the server can do its work, asked by supervisors and load balancers all the time."""

from __future__ import annotations

import errno
import secrets
import threading
from concurrent.futures import TimeoutError as FutureTimeoutError

from edge_host.clock import Clock
from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Blobs, StateStore, Transaction

DATABASE_S = 1.0
"""A write that takes longer than this is no service any more, though it may come back."""

ALIVE_S = 2.0

PROBE_EVERY_S = 10.0
"""The disk is really written to, so not by each question: some ask every second."""


class _UndoneError(Exception):
    """Rolls the trial write back."""


class Readiness:
    """Tries the database and the disk."""

    def __init__(self, state: StateStore, blobs: Blobs, clock: Clock) -> None:
        self._state = state
        self._blobs = blobs
        self._clock = clock
        self._probing = threading.Lock()
        self._probed_s: float | None = None
        self._storage: list[str] = []

    def codes(self, min_free_bytes: int) -> list[str]:
        """Return what is wrong: ``database``, ``storage``, ``disk-full``, ``no-inodes``, ``route-away``; or nothing."""
        wrong = [] if self.database_writes(DATABASE_S) else ["database"]
        wrong += ["route-away"] if self._blobs.away() else []
        wrong += self._storage_codes()
        try:
            is_full = self._blobs.free_bytes() < min_free_bytes
            files = self._blobs.files()
        except OSError:
            return sorted({*wrong, "storage"})
        if is_full:
            wrong.append("disk-full")
        if files is not None and files.is_used_up:
            wrong.append("no-inodes")
        return sorted(set(wrong))

    def is_alive(self) -> bool:
        """Return whether the database takes a write, given more time than to be called ready.

        One that is elsewhere may be away for a while: that is no reason to start this server again.
        """
        return self._state.is_elsewhere or self.database_writes(ALIVE_S)

    def database_writes(self, timeout_s: float) -> bool:
        """Return whether the database takes a write in time; the write is rolled back.

        Raises:
            AssertionError: the write was not rolled back; a bug here.
        """
        row = f"probe-{secrets.token_hex(8)}"  # of its own: another server may hold up any that is there

        def write(transaction: Transaction) -> None:
            transaction.write_note(row, "probe", "")
            raise _UndoneError

        try:
            self._state.submit(write).result(timeout_s)
        except _UndoneError:
            return True
        except (Refused, FutureTimeoutError):
            return False
        raise AssertionError("the trial write was not rolled back")

    def _storage_codes(self) -> list[str]:
        # A disk that hangs may hold one thread, not one more with each question.
        if not self._probing.acquire(timeout=DATABASE_S):
            return ["storage"]
        try:
            now_s = self._clock.now_s()
            if self._probed_s is None or now_s - self._probed_s >= PROBE_EVERY_S:
                self._storage = self._probe()
                self._probed_s = now_s
            return self._storage
        finally:
            self._probing.release()

    def _probe(self) -> list[str]:
        try:
            self._blobs.probe()
        except OSError as error:
            return ["disk-full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "storage"]
        return []
