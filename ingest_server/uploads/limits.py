"""How many bytes still fit into a device's quota. What fits on the disk is in `room`.

A quota is what the unfinished uploads of one device may hold. It is reserved when an upload is
created, by its declared length, so that a device learns it before it sends; nothing is allocated
for it. Completing, aborting and expiring free the reservation: what is published is the operator's,
who may move or delete it without telling.
"""

from __future__ import annotations

from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Queries


class HeldByOthersError(Refused):
    """What other unfinished uploads of the device hold leaves no place; see `giving_way`."""

    short_bytes = 0
    """How many of them are in the way; 0: it is their number."""


def refuse_over_number(queries: Queries, device: str, limit: int) -> None:
    """Refuse one more upload of a device that has *limit* open ones.

    Raises:
        HeldByOthersError: ``too-many-requests``.
    """
    if queries.open_count(device) >= limit:
        raise HeldByOthersError(
            "too-many-requests", f"the device has {limit} open uploads, the limit"
        )


def refuse_over_quota(
    queries: Queries,
    device: str,
    upload_id: str,
    length: int,
    quota: int | None,
    *,
    unrecorded: int = 0,
) -> None:
    """Refuse that the upload holds *length* bytes when those of the device leave less than that.

    Asked inside the transaction that writes the length: two creates at once cannot both fit.

    Args:
        unrecorded: bytes of the device's other uploads that no row counts.

    Raises:
        Refused: ``quota-exceeded``; it never fits.
        HeldByOthersError: ``quota-exceeded``; it fits once others of the device have ended.
    """
    if quota is None:
        return
    if length > quota:
        raise Refused(
            "quota-exceeded", f"{length} bytes are more than the device's quota of {quota} bytes"
        )
    reserved = queries.reserved_bytes(device, besides=upload_id) + unrecorded
    if reserved + length > quota:
        held = HeldByOthersError(
            "quota-exceeded",
            f"{length} bytes do not fit the device's quota of {quota} bytes: its other unfinished "
            f"uploads hold {reserved}",
        )
        held.short_bytes = reserved + length - quota
        raise held
