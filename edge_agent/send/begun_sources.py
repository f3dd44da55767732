"""The files that were sent while they were written to, kept open until a lane is at them.

A recorder that keeps a ring of files deletes the oldest in a wait, too: behind a dead link, or in a queue.
Another puts the next file in the place of one that it has hardly finished. What was begun of it is at the
server, and the rest is there as long as the file is open: it is handed to `held_sources`, and read to its
end. While a recorder writes to its card nobody takes that out, so nothing is in the way; once none does,
what has its name is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from edge_agent.base.errors import SourceError, SourceSilentError, StaleRecordingError
from edge_agent.core.growing import AT_REST_S
from edge_agent.core.recording import Identity, Recording
from edge_agent.core.upload import State
from edge_agent.media import beneath
from edge_agent.media.identity import identity_at
from edge_agent.media.source import Source
from edge_agent.media.stability_check import UNSETTLED, settling
from edge_agent.send.held_sources import HeldSources
from edge_agent.store.recordings import Store

_WAITING = frozenset({*UNSETTLED, State.STABLE, State.SENDING})
"""States in which the file is needed."""

_MOVED_S = 10.0
"""So long a file that was moved is kept open: the next look at the folder finds it under its new name."""

_LOOKED_AT = 64
"""Unsettled recordings, the oldest, among which one is looked for that is written on a card."""


class _Begun:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.deleted: Identity | None = None
        """As it was when it was found deleted, or last written to after that."""
        self.since_s = 0.0
        self.moved_s: float | None = None
        """When its name was first seen not to lead to it any more, though it has one."""

    def is_of(self, recording: Recording) -> bool:
        """Return whether it is the file that *recording* is about now."""
        return self.source.identity.inode == recording.identity.inode

    def is_where(self, path: bytes, now_s: float) -> bool:
        """Return whether *path* leads to it, or did until a moment ago: whoever moves it is followed."""
        if _names(path, self):
            self.moved_s = None
            return True
        if self.moved_s is None:
            self.moved_s = now_s
        return now_s - self.moved_s < _MOVED_S


class BegunSources:
    """For one thread, with the lock of the lanes held.

    Args:
        wake: called when there is something more to be sent.
    """

    def __init__(self, store: Store, held: HeldSources, wake: Callable[[], None]) -> None:
        self._store = store
        self._held = held
        self._wake = wake
        self._begun: dict[str, _Begun] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def keep(self, recording: Recording, source: Source) -> None:
        """Keep the file of *recording*, which *source* has open, open too, if there is room for one more."""
        if recording.id in self._begun or len(self._begun) >= self._held.most:
            return
        with suppress(SourceError):  # no descriptor is left
            self._begun[recording.id] = _Begun(source.again())
            self._note()

    def look(self, growing: Mapping[str, Recording], now_s: float) -> None:
        """Hand over what was deleted or replaced; close what is at its end, or in the way.

        Args:
            growing: those that are written to, which are only looked at.
            now_s: the time.

        Raises:
            StoreError: what is not written down is handed over at the next look.
        """
        for recording_id, one in tuple(self._begun.items()):
            with suppress(StaleRecordingError):  # moved this instant: at the next look
                written = growing.get(recording_id)
                if written is None or not one.is_of(written) or not _names(written.path, one):
                    self._decide(recording_id, one, now_s)

    def close(self) -> None:
        """Close all of them."""
        for recording_id in tuple(self._begun):
            self._close(recording_id)

    def _close(self, recording_id: str) -> None:
        self._begun.pop(recording_id).source.close()
        self._note()

    def _note(self) -> None:
        self._held.note_begun({key: one.deleted is not None for key, one in self._begun.items()})

    def _decide(self, recording_id: str, one: _Begun, now_s: float) -> None:
        if not self._is_kept(recording_id, one, now_s):
            self._close(recording_id)

    def _is_kept(self, recording_id: str, one: _Begun, now_s: float) -> bool:
        recording = self._store.get(recording_id)
        if recording is None or recording.state not in _WAITING or self._held.has(recording_id):
            return False
        if not one.is_of(recording):
            return False  # another file has its name
        try:
            if not one.source.is_unlinked:
                return self._is_recording_on(recording) and one.is_where(recording.path, now_s)
            if self._held.is_low:
                return False
            self._hand_over(recording, one, now_s)
        except SourceSilentError:
            pass  # nothing is known: at the next look
        except SourceError:
            return False  # the card is gone, or something writes to what was deleted
        return True

    def _is_recording_on(self, recording: Recording) -> bool:
        """Return whether a recorder writes to the card that *recording* is on."""
        if recording.state in UNSETTLED:
            return True
        device = recording.identity.device
        unsettled = self._store.in_states(*UNSETTLED, limit=_LOOKED_AT)
        return any(one.identity.device == device for one in unsettled)

    def _hand_over(self, recording: Recording, one: _Begun, now_s: float) -> None:
        """Have a deleted file read to its end, once nobody writes to it and there is room for that."""
        identity = one.source.now()
        if identity != one.deleted:
            one.deleted, one.since_s = identity, now_s
            self._note()  # what has its name from here on is another recording
        if not self._held.has_room:
            return
        if recording.state in UNSETTLED:
            if now_s - one.since_s < AT_REST_S:
                return
            moved = self._store.advance_all([settling(recording, identity)])
            if not moved:
                return  # by another worker, this instant
            recording = moved[0]
        one.source.reads_on = True
        one.source.check(recording.identity)
        if self._held.hold(None, recording, one.source):
            del self._begun[recording.id]
            self._note()
            self._wake()


def _names(path: bytes, one: _Begun) -> bool:
    """Return whether *path* is still a name of the open file. Any doubt is True."""
    named = identity_at(path)
    return beneath.is_there(path) if named is None else named.inode == one.source.identity.inode
