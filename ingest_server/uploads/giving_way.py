"""Uploads that nobody goes on with give way to others of their device.

They hold their places, and their part of the quota, until they expire, days later. A device that may
have no more meanwhile is refused, and told what is true: when the first of them gives way, and what
makes room before.

What has no byte yet is no loss: it goes once it is an hour old. What has some is sent anew by its
client if that goes on after all. A device that was out of reach for days may be about to, so its hour
begins when the device is first refused: it has been here since, and sent nothing of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from ingest_server.core.errors import Refused
from ingest_server.core.record import end_of
from ingest_server.storage.interface import OpenUpload
from ingest_server.uploads.expiry import Expiry
from ingest_server.uploads.limits import HeldByOthersError
from ingest_server.uploads.store import UploadStore

IDLE_S = 3600.0
"""An agent that is refused comes back within the hour, whatever it is told."""
MOVING_S = 600.0
"""An upload that got bytes since then is going on, and may soon end."""
MOVING_RETRY_S = 60.0

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(slots=True)
class _Refusals:
    """Of one device, without a pause of twice `IDLE_S`."""

    first_s: float
    last_s: float


class GivingWay:
    """Knows which devices were refused, and since when."""

    def __init__(
        self, store: UploadStore, expiry: Expiry, is_at_work: Callable[[str], bool]
    ) -> None:
        """Join the parts.

        Args:
            is_at_work: whether an upload is being finished, which is no idling.
        """
        self._state = store.state
        self._uptime = store.uptime
        self._expiry = expiry
        self._is_at_work = is_at_work
        self._refusals: dict[str, _Refusals] = {}

    def around(self, device: str, create: Callable[[], T]) -> T:
        """Return what *create* makes for *device*; what is in its way gives way, one after the other.

        Raises:
            Refused: what *create* raised, explained where nothing may give way.
        """
        while True:
            try:
                return create()
            except HeldByOthersError as refused:
                if not self._let_one_go(refused, device):
                    raise self._explained(refused, device) from refused

    def _let_one_go(self, refused: HeldByOthersError, device: str, *, besides: str = "") -> bool:
        """End the upload of *device* that was idle for longest, if it was for long enough.

        None ends in vain: only where as many as make the room were idle for that long.

        Args:
            refused: says what room is to be made.
            besides: the upload that is to go on.

        Returns:
            Whether one has ended.

        Raises:
            Refused: the database failed.
        """
        now_s, first_s = self._uptime.now_s(), self._first_refused_s(device)
        enough = self._enough(refused, device, besides)
        if not enough or _goes_at_s(enough[-1], first_s) > now_s:
            return False
        for one in enough:
            if self._expiry.end(one.id, one.touched_s + 1.0):
                log.warning(
                    "upload.gave_way",
                    upload_id=one.id,
                    device_id=device,
                    idle_s=round(now_s - one.touched_s),
                    error="its device may have no more unfinished uploads and got no byte of this "
                    "one: it made room for a new one",
                )
                return True
        return False

    def _explained(self, refused: HeldByOthersError, device: str, *, besides: str = "") -> Refused:
        """Return *refused* with when to come back, and what makes room before."""
        now_s, first_s = self._uptime.now_s(), self._first_refused_s(device)
        uploads = self._state.open_uploads(device)
        wait_s = MOVING_RETRY_S
        when = "others of them are going on"
        is_moving = any(now_s - one.touched_s <= MOVING_S for one in uploads if one.has_bytes)
        enough = self._enough(refused, device, besides)
        if enough and not is_moving:
            wait_s = max(1.0, _goes_at_s(enough[-1], first_s) - now_s)
            who = "the one that is idle for longest gives way"
            if len(enough) > 1:
                who = f"the {len(enough)} that are idle for longest give way"
            when = f"{who} in {math.ceil(wait_s / 60)} min"
        return Refused(
            refused.code,
            f"{refused.detail}; complete or abort some, or have the operator do it with "
            f"`ingest-server abort`; {when}",
            missing=refused.missing,
            retry_after_s=wait_s,
        )

    @contextmanager
    def to(self, upload_id: str) -> Iterator[None]:
        """Make room for an upload that is refused because of others; it is tried again later.

        Raises:
            Refused: what the body raised, explained.
        """
        try:
            yield
        except HeldByOthersError as refused:
            device = self._state.device_of(upload_id)
            if device is None:
                raise
            if not self._let_one_go(refused, device, besides=upload_id):
                raise self._explained(refused, device, besides=upload_id) from refused
            raise Refused(
                refused.code,
                f"{refused.detail}; one of them has given way just now: try again",
                missing=refused.missing,
                retry_after_s=1.0,
            ) from refused

    def _enough(self, refused: HeldByOthersError, device: str, besides: str) -> list[OpenUpload]:
        """Return the uploads that make the room, idle for longest first; none: all would not."""
        first_s, short = self._first_refused_s(device), refused.short_bytes
        found: list[OpenUpload] = []
        for one in sorted(
            self._state.open_uploads(device), key=lambda one: _goes_at_s(one, first_s)
        ):
            if one.id == besides or self._is_at_work(one.id):
                continue
            found.append(one)
            record = self._state.find(one.id)
            if record is not None:
                short -= end_of(record.received) if record.length is None else record.length
            if short <= 0:
                return found
        return []

    def _first_refused_s(self, device: str) -> float:
        now_s = self._uptime.now_s()
        for other, known in list(self._refusals.items()):
            if now_s - known.last_s > 2 * IDLE_S:
                self._refusals.pop(other, None)
        found = self._refusals.setdefault(device, _Refusals(now_s, now_s))
        found.last_s = now_s
        return found.first_s


def _goes_at_s(one: OpenUpload, first_refused_s: float) -> float:
    since_s = max(one.touched_s, first_refused_s) if one.has_bytes else one.touched_s
    return since_s + IDLE_S
