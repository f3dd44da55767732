"""Verified recordings that may not be what was verified: their files have other times by now.

Somebody has touched them, a card has another clock, or other bytes lie under the old name, and by length
and times nobody can say which. So they are read and compared with the receipt, some at a time: what is
the same stays as it is, without a word to the server; what is not is a new recording.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_agent.base.errors import (
    SourceChangedError,
    SourceError,
    SourceVanishedError,
    StaleRecordingError,
)
from edge_agent.core.plan import MIB
from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, State
from edge_agent.media import beneath
from edge_agent.media.identity import identity_at
from edge_agent.media.source import Source
from edge_agent.media.verified_content import VerifiedContent
from edge_agent.store.recordings import Store

_PAGE = 100
_REST_S_PER_BYTE = 1.0 / (64 * MIB)
"""Nobody waits for this, and a camera may be writing to the same card."""
_AGAIN_S = 600.0
"""After this, what could not be read is looked at once more: a card that had a fault for a moment."""


class Doubts:
    """For the janitor's thread, but `note`.

    Args:
        on_changed: told of a recording that is VERIFIED, and whose file is not the verified one.
        wake: called when there is something to do.
    """

    def __init__(
        self,
        store: Store,
        content: VerifiedContent,
        on_changed: Callable[[Recording, SourceChangedError], object],
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._content = content
        self._on_changed = on_changed
        self._wake = wake
        self._is_noted = threading.Event()
        self._after: int | None = None
        """Number of the last recording that was looked at; None: there is nothing to look for."""
        self._again_s: float | None = None
        """When all are looked at again, for one could not be read; None: each was settled."""

    def note(self) -> None:
        """Say that there is at least one such file; returns at once, from any thread."""
        self._is_noted.set()
        self._wake()

    def step(self, now_s: float) -> float | None:
        """Look at some recordings, or read some of one; return how long to rest.

        None: there is nothing more to look for by now.

        Raises:
            StoreError: what was found could not be read or written; it is found again.
        """
        if self._after is None:
            is_due = self._again_s is not None and now_s >= self._again_s
            if not is_due and not self._is_noted.is_set():
                return None
            self._is_noted.clear()
            self._after, self._again_s = 0, None
        page = self._store.in_states(State.VERIFIED, State.KEPT, after_seq=self._after, limit=_PAGE)
        for recording in page:
            if _is_doubtful(recording):
                return self._compare(recording, now_s)
            self._after = recording.seq
        if not page:
            self._after = None
        return 0.0

    def _compare(self, recording: Recording, now_s: float) -> float:
        rest_s = 0.0
        try:
            with Source.open(recording.path) as source:
                self._content.is_still_there(recording, source)
            rest_s = min(recording.identity.length, 64 * MIB) * _REST_S_PER_BYTE
            now = self._store.get(recording.id)
            if now is not None and now.identity == recording.identity:
                return rest_s  # there is more of it to read
        except SourceChangedError as error:
            self._change(recording, error)
        except SourceVanishedError:
            pass  # a matter for whoever misses it
        except (SourceError, StaleRecordingError):  # not readable, or moved by somebody else
            self._again_s = now_s + _AGAIN_S
        self._after = recording.seq
        return rest_s

    def _change(self, recording: Recording, error: SourceChangedError) -> None:
        if recording.state is State.KEPT:
            recording = self._store.advance(recording, Event.KEEPING_NO_MORE)
        self._content.forget(recording.id)
        self._on_changed(recording, error)


def _is_doubtful(recording: Recording) -> bool:
    if recording.delete_allowed:
        return False
    found = identity_at(recording.path)
    if found is None:
        return beneath.is_there(recording.path)  # by all that can be told
    return recording.identity.is_doubtful(found)
