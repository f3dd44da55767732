"""Who may record what, known to one process: for stores that only one process writes uploads of."""

from __future__ import annotations

import threading

from ingest_server.storage.interface import Claim, Lease, StateStore
from upload_protocol.ranges import ByteRange

CLAIMS_PER_RUN = 2**40
"""More than a run can make: a thousand each second for thirty years."""


class Claims:
    """The claims that stand, and the leases: nobody outlives the process that has them."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._newest_lease = 0
        self._newest = 0
        self._lock = threading.Lock()
        self._standing: dict[str, list[Claim]] = {}

    def begin_run(self, number: int) -> None:
        """Let every new claim be newer than those of all runs before the one of that *number*."""
        with self._lock:
            self._newest = max(self._newest, number * CLAIMS_PER_RUN)

    def take(self, upload_id: str, where: ByteRange) -> tuple[Claim, bool]:
        """Return a new claim, and whether others stand no more because they intersect it."""
        with self._lock:
            self._newest += 1
            claim = Claim(upload_id, where, self._newest)
            before = self._standing.get(upload_id, [])
            others = [one for one in before if not one.where.intersects(where)]
            self._standing[upload_id] = [*others, claim]
            return claim, len(others) < len(before)

    def is_standing(self, claim: Claim) -> bool:
        with self._lock:
            return claim in self._standing.get(claim.upload_id, ())

    def end(self, upload_id: str) -> bool:
        """Let no claim of an upload stand any more; returns whether one did."""
        with self._lock:
            return self._standing.pop(upload_id, None) is not None

    def count(self, upload_id: str) -> int:
        """Return how many claims of an upload stand."""
        with self._lock:
            return len(self._standing.get(upload_id, ()))

    def release(self, claim: Claim) -> None:
        with self._lock:
            others = [one for one in self._standing.get(claim.upload_id, ()) if one != claim]
            if others:
                self._standing[claim.upload_id] = others
            else:
                self._standing.pop(claim.upload_id, None)

    def take_lease(self, name: str) -> Lease | None:
        """Return the right to do what is called *name* alone; None: somebody has it."""
        with self._lock:
            if name in self._leases:
                return None
            self._newest_lease += 1
            self._leases[name] = Lease(name, str(self._newest_lease))
            return self._leases[name]

    def is_leased(self, lease: Lease) -> bool:
        with self._lock:
            return self._leases.get(lease.name) == lease

    def end_lease(self, lease: Lease) -> None:
        with self._lock:
            if self._leases.get(lease.name) == lease:
                del self._leases[lease.name]


class OwnClaims(StateStore):
    """What a store of one process says of claims and leases."""

    _claims: Claims

    def count_claims(self, upload_id: str) -> int:
        return self._claims.count(upload_id)

    def release(self, claim: Claim) -> None:
        self._claims.release(claim)

    def take_lease(self, name: str, for_s: float) -> Lease | None:  # noqa: ARG002 # it ends with the process
        return self._claims.take_lease(name)

    def keep_lease(self, lease: Lease, for_s: float) -> bool:  # noqa: ARG002 # as above
        return self._claims.is_leased(lease)

    def end_lease(self, lease: Lease) -> None:
        self._claims.end_lease(lease)
