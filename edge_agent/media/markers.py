"""Marker files: what a recorder that makes them says beside a recording, whether it is finished.

They are the recorder's: never sent, and never deleted by us. So a marker may be left from an earlier
recording of the same name, and a lock from a recorder that died; the first is recognised by its time,
the second holds a recording for `marker_wait_s` of quiet at most.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.core.recording import Identity
from edge_agent.core.stability import Marker
from edge_agent.media import beneath
from edge_agent.media.identity import identity_at


@dataclass(frozen=True, slots=True)
class MarkerRules:
    """Endings of the markers that are in use; a marker's name is its recording's, and the ending."""

    done: bytes | None = None
    """A recording is finished when this one is there."""
    locks: tuple[bytes, ...] = ()
    """A recording is not finished while one of these is there."""

    def endings(self) -> tuple[bytes, ...]:
        return self.locks if self.done is None else (self.done, *self.locks)

    def beside(self, path: bytes, identity: Identity) -> tuple[Marker, str]:
        """Return what is said of the recording at *path*, and in words why it is awaited."""
        for lock in self.locks:
            if beneath.is_there(path + lock):
                return Marker.AWAITED, f"its marker {_text(lock)} is there"
        if self.done is None:
            return Marker.NONE, ""
        marker = identity_at(path + self.done)
        if marker is None:
            return Marker.AWAITED, f"its marker {_text(self.done)} is not there yet"
        if marker.mtime_ns < identity.mtime_ns:
            # Both times are of one clock. One that was set back costs waiting, no recording.
            return Marker.AWAITED, f"its marker {_text(self.done)} is older than it"
        return Marker.DONE, ""


def _text(ending: bytes) -> str:
    return ending.decode("ascii")
