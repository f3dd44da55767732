"""The uploads that lanes know of, and the bytes of those that they forget, which are counted."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.core.recording import Recording
from edge_agent.send.upload_progress import UploadProgress
from edge_agent.store.recordings import Store

_KEPT = 16
"""Uploads remembered: one per lane, and some that yielded to others and keep their digest."""


def write_down(store: Store, progress: UploadProgress) -> None:
    """Write down what *progress* put on the wire that did not end in its bytes' being all there."""
    sent, resent = progress.take_counts()
    if sent:
        store.notes.count_sent(sent=sent, resent=resent)


class UploadsUnderWay:
    """The last few; the least used one is counted and forgotten."""

    def __init__(self, count: Callable[[UploadProgress], object]) -> None:
        self._count = count
        self._kept: dict[str, UploadProgress] = {}

    def find(self, recording: Recording) -> UploadProgress | None:
        """Return the progress of *recording*'s present content."""
        found = self._kept.get(recording.id)
        return found if found is not None and found.identity == recording.identity else None

    def of(self, recording: Recording, now_s: float) -> UploadProgress:
        """Return the progress of *recording*'s present content, a new one if there is none."""
        found = self.find(recording)
        if found is None:
            self.drop(recording.id)
            found = UploadProgress(recording.id, recording.identity, now_s)
        self._kept.pop(recording.id, None)
        self._kept[recording.id] = found  # last in the order of use
        idle = [key for key, one in self._kept.items() if not one.flights]
        for key in idle[: max(0, len(self._kept) - _KEPT)]:
            if key != recording.id:
                self.drop(key)
        return found

    @property
    def left_in_flight(self) -> int:
        """Bytes that lanes have taken on and not yet handed to the system."""
        return sum(one.left_in_flight for one in self._kept.values())

    @property
    def begun_bytes(self) -> int:
        """Bytes of the uploads that lanes are at, and that the server has not said that it has."""
        return sum(
            one.identity.length - one.held.total for one in self._kept.values() if one.flights
        )

    def drop(self, recording_id: str) -> None:
        """Count what it put on the wire, and forget it."""
        found = self._kept.pop(recording_id, None)
        if found is not None:
            found.is_dropped = True
            self._count(found)

    def end(self, progress: UploadProgress, lane: int) -> None:
        """Say that *lane*'s task is over; of a forgotten one nobody else would count it."""
        progress.end(lane)
        if progress.is_dropped:
            self._count(progress)
