"""The file that a lane works on, opened once for all that the lane does with it at a stretch."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.base.errors import SourceChangedError, SourceError, SourceVanishedError
from edge_agent.core.recording import Recording
from edge_agent.media.scan import is_gone
from edge_agent.media.source import Source
from edge_agent.send.held_sources import HeldSources


class SourceInHand:
    """Of one lane, at most one file: what holds a card in use for no longer than something is done.

    Args:
        open_source: opens the file at a path for reading.
        held: of all lanes; takes what is deleted while it is in hand.
    """

    def __init__(
        self, lane: int, open_source: Callable[[bytes], Source], held: HeldSources
    ) -> None:
        self._lane = lane
        self._open = open_source
        self._held = held
        self._source: Source | None = None
        self._recording: Recording | None = None

    def take(self, recording: Recording) -> Source:
        """Return *recording*'s open file, whose identity has been compared just now.

        It may have been deleted since a lane opened it.

        Raises:
            SourceError: it is not what it was; nothing is in hand then.
        """
        known = self._recording
        if known is None or (known.id, known.path) != (recording.id, recording.path):
            self.let_go()
        deleted = self._held.find(recording)
        if deleted is not None:
            deleted.check(recording.identity)
            return deleted
        if self._source is None:
            self._source = self._open_noted(recording)
            self._source.reads_on = True
            self._held.opened(self._lane, self._source)
            self._recording = recording
        source = self._source
        source.check(recording.identity)
        if source.is_deleted:
            if not self._held.hold(self._lane, recording, source):
                self.close()
                msg = "it was deleted while it was sent, and is not held: the disk has no room for that"
                raise SourceVanishedError(msg)
            self._source = self._recording = None
        return source

    def _open_noted(self, recording: Recording) -> Source:
        """Open its file, noted before: whoever misses it from here on leaves it to this lane."""
        self._held.take_up(self._lane, recording)
        try:
            source = self._open(recording.path)
            begun = self._held.elsewhere(self._lane, recording)
            if begun is None or begun.identity.is_same_file(source.identity):
                return source
            source.close()  # another file has the name: what has been begun is read to its end
            return begun.again()
        except SourceError:
            self._held.has_none(self._lane)
            raise

    def is_gone(self, recording: Recording) -> bool:
        """Return whether the file of *recording*, all of whose bytes the server has, is deleted by now.

        It need not be read any more: whether it can be, or is there, is no matter.

        Raises:
            SourceChangedError: it is there, and is not what was sent.
        """
        try:
            return self.take(recording).is_deleted
        except SourceChangedError:
            raise
        except SourceError:
            return not self._was_moved() and is_gone(recording.path, recording.identity.device)

    def _was_moved(self) -> bool:
        """Return whether what is in hand has a name yet: a look finds it there."""
        try:
            return self._source is not None and not self._source.is_unlinked
        except SourceError:
            return False

    def let_go(self) -> None:
        """Close what is in hand, if anything is, and was not deleted."""
        source, self._source = self._source, None
        recording, self._recording = self._recording, None
        if source is not None and recording is not None:
            self._held.put_down(self._lane, recording, source)

    def close(self) -> None:
        """Close what is in hand, if anything is: nothing more is to be read of it."""
        source, self._source, self._recording = self._source, None, None
        if source is not None:
            self._held.close_one(self._lane, source)
