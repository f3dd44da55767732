"""The right to finish an upload, which of all replicas one has at a time.

Whoever has it keeps it as long as it works, in a thread of its own. Each step that is recorded asks whether it
still has it, in the transaction that records: so one that stood still for long, and wakes up after another went
on in its place, changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Lease, StateStore, Transaction

LEASE_S = 15.0
"""How long nobody goes on with what a replica was finishing when it died."""

log = structlog.get_logger()


class Leases:
    """The leases of this process."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._held: dict[str, Lease] = {}
        self._pause = threading.Event()
        self._keeper: threading.Thread | None = None

    @contextmanager
    def hold(self, upload_id: str) -> Iterator[None]:
        """Have the upload alone while the body runs.

        Raises:
            Refused: ``server-busy``: another replica has it, or had it a moment ago and died.
        """
        lease = self._state.take_lease(f"finish {upload_id}", LEASE_S)
        if lease is None:
            detail = "another replica of the server is finishing this upload"
            raise Refused("server-busy", detail, retry_after_s=1)
        with self._lock:
            self._held[upload_id] = lease
            self._begin_keeping()
        try:
            yield
        finally:
            with self._lock:
                del self._held[upload_id]
            self._state.end_lease(lease)

    def refuse_if_lost(self, transaction: Transaction, upload_id: str) -> None:
        """Refuse to record a step of an upload that was taken away from who works on it here.

        Raises:
            Refused: ``server-busy``.
        """
        with self._lock:
            lease = self._held.get(upload_id)
        if lease is not None and not transaction.is_leased(lease):
            detail = "another replica of the server has gone on with this upload"
            raise Refused("server-busy", detail, retry_after_s=1)

    def _begin_keeping(self) -> None:
        if not self._state.is_elsewhere:
            return  # it ends with the process
        if self._keeper is None or not self._keeper.is_alive():
            self._keeper = threading.Thread(target=self._keep, name="leases", daemon=True)
            self._keeper.start()

    def _keep(self) -> None:
        """Keep what is held, until nothing is."""
        while True:
            self._pause.wait(LEASE_S / 3)
            with self._lock:
                held = list(self._held.values())
                if not held:
                    self._keeper = None
                    return
            for lease in held:
                try:
                    self._state.keep_lease(lease, LEASE_S)
                except (
                    Refused
                ) as refused:  # the database is away: it is tried again, in time or not
                    log.debug("lease.unkept", name=lease.name, error=str(refused))
