"""The file that a lane works on, opened once for all that the lane does with it at a stretch."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.core.recording import Recording
from edge_agent.media.source import Source


class SourceInHand:
    """Of one lane, at most one file: what holds a card in use for no longer than something is done.

    Args:
        open_source: opens the file at a path for reading.
    """

    def __init__(self, open_source: Callable[[bytes], Source]) -> None:
        self._open = open_source
        self._source: Source | None = None
        self._recording: Recording | None = None

    def take(self, recording: Recording) -> Source:
        """Return *recording*'s open file, whose identity has been compared just now.

        Raises:
            SourceError: it is not what it was; nothing is in hand then.
        """
        known = self._recording
        if known is None or (known.id, known.path) != (recording.id, recording.path):
            self.let_go()
        if self._source is None:
            self._source = self._open(recording.path)
            self._recording = recording
        self._source.check(recording.identity)
        return self._source

    def let_go(self) -> None:
        """Close what is in hand, if anything is."""
        source, self._source, self._recording = self._source, None, None
        if source is not None:
            source.close()
