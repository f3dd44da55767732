"""The files that lanes have open, and those of them that were deleted since: these are read to their end.

A recorder that keeps a ring of files deletes the oldest, or puts another file in its place, which is what a
slow link is busy with. Its bytes are there as long as it is open, so what was begun is not given up (law L2
has the receipt alone let a recording go). But an open file keeps a full disk full: there are at most as many
of them as there are lanes, and none while the disk is low.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import SourceError, StoreError
from edge_agent.base.reasons import ProblemCode
from edge_agent.core.printable import printable
from edge_agent.core.recording import SOURCE_DELETED, Recording
from edge_agent.media.source import Source
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_DETAIL = "its file was deleted here while it was sent; it is still open, and is read to its end"


class HeldSources:
    """Of all lanes of one link; touched with their lock held."""

    def __init__(self, store: Store, activity: Activity, most: Callable[[], int]) -> None:
        self._store = store
        self._activity = activity
        self._most = most
        self._in_hand: dict[int, str] = {}
        """Lane -> the recording that it has open."""
        self._open: dict[int, Source] = {}
        """Lane -> its open file."""
        self._deleted: dict[str, Source] = {}
        self._begun: Mapping[str, bool] = {}
        """Recordings that are kept open beside, for they were begun, and whether they are deleted."""

    @property
    def most(self) -> int:
        """How many may be held."""
        return self._most()

    @property
    def has_room(self) -> bool:
        """Whether one more may be held."""
        return not self.is_low and len(self._deleted) < self._most()

    def note_begun(self, recordings: Mapping[str, bool]) -> None:
        """Note which are kept open beside what lanes have: whoever misses their files waits.

        Args:
            recordings: with whether there is no other way to them than the open file.
        """
        if recordings != self._begun:
            self._begun = recordings
            self._tell()

    def has(self, recording_id: str) -> bool:
        """Return whether a recording's file is held because it was deleted."""
        return recording_id in self._deleted

    @property
    def deleted(self) -> tuple[str, ...]:
        """The recordings that there is no other way to than the open file."""
        return tuple(self._deleted)

    def elsewhere(self, lane: int, recording: Recording) -> Source | None:
        """Return the file of *recording* that another lane than *lane* has open; None: none has.

        Not what a lane has still open of an earlier content.
        """
        lanes = (one for one, its in self._in_hand.items() if its == recording.id and one != lane)
        begun = (self._open[one] for one in lanes if one in self._open)
        return next((one for one in begun if one.identity.is_untouched(recording.identity)), None)

    def take_up(self, lane: int, recording: Recording) -> None:
        """Note that *lane* is about to open a recording's file: whoever misses the file asks whether it is held."""
        self._in_hand[lane] = recording.id
        self._tell()

    def opened(self, lane: int, source: Source) -> None:
        """Note what *lane* has opened."""
        self._open[lane] = source

    def put_down(self, lane: int, recording: Recording, source: Source) -> None:
        """Close *source*, unless its file was deleted and is held from here on."""
        try:
            source.check(recording.identity)
            is_held = source.is_deleted and self.hold(lane, recording, source)
        except (SourceError, StoreError):
            is_held = False
        if not is_held:
            self.close_one(lane, source)

    def close_one(self, lane: int, source: Source) -> None:
        """Close what *lane* has open: nothing more is to be read of it."""
        source.close()
        self.has_none(lane)

    def has_none(self, lane: int) -> None:
        """Note that *lane* has nothing open."""
        self._forget(lane)
        self._tell()

    def hold(self, lane: int | None, recording: Recording, source: Source) -> bool:
        """Take over *source*, whose file was deleted; return whether there is room to.

        Args:
            lane: which had it open; None: none.
            recording: the one whose file it is.
            source: the open file.

        Raises:
            StoreError: it is not held, for that could not be written down.
        """
        if recording.id in self._deleted or not self.has_room:
            return False
        self._store.update(recording, problem=SOURCE_DELETED, detail=_DETAIL)
        if lane is not None:
            self._forget(lane)
        self._deleted[recording.id] = source
        log.info("upload.source_held", recording_id=recording.id, path=printable(recording.path))
        self._tell()
        return True

    def find(self, recording: Recording) -> Source | None:
        """Return the file of *recording* that is held because it was deleted."""
        if self._deleted and self.is_low:
            self.close()
        return self._deleted.get(recording.id)

    def release(self, is_wanted: Callable[[str], bool]) -> None:
        """Close what is held and no more wanted."""
        for one in self.deleted:
            if not is_wanted(one):
                self._deleted.pop(one).close()
                self._tell()

    def close(self) -> None:
        """Close all that is held."""
        self.release(lambda _: False)

    @property
    def is_low(self) -> bool:
        """Whether the disk needs the room of what was deleted."""
        return ProblemCode.DISK_LOW in self._activity.problems

    def _forget(self, lane: int) -> None:
        self._in_hand.pop(lane, None)
        self._open.pop(lane, None)

    def _tell(self) -> None:
        self._activity.hold(
            {
                **dict.fromkeys(self._in_hand.values(), False),
                **self._begun,
                **dict.fromkeys(self._deleted, True),
            }
        )
