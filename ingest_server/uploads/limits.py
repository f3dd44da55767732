"""How many bytes the unfinished uploads of one device may hold.

Reserved when an upload is created, by its declared length, so that a device learns it before it
sends; nothing is allocated for it. Completing, aborting and expiring free the reservation: what is
published is the operator's, who may move or delete it without telling.
"""

from __future__ import annotations

from ingest_server.core.errors import Refused
from ingest_server.storage.sqlite.queries import Queries


def refuse_over_quota(
    queries: Queries, device: str, upload_id: str, length: int, quota: int | None
) -> None:
    """Refuse that the upload holds *length* bytes when those of the device leave less than that.

    Asked inside the transaction that writes the length: two creates at once cannot both fit.

    Raises:
        Refused: ``quota-exceeded``; it may fit once another upload of the device has ended.
    """
    if quota is None:
        return
    reserved = queries.reserved_bytes(device, besides=upload_id)
    if reserved + length > quota:
        raise Refused(
            "quota-exceeded",
            f"{length} bytes do not fit the device's quota of {quota} bytes: its other unfinished "
            f"uploads hold {reserved}; complete or abort some",
            retry_after_s=60,
        )
