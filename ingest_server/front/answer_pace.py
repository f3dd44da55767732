"""Whether a peer takes its answer at the least rate. How much is left of it decides nothing."""

from __future__ import annotations

from ingest_server.front.answer_writer import AnswerWriter
from ingest_server.front.body import Patience


class AnswerPace:
    """Of one connection."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._began_s = 0.0
        self._taken_bytes = 0
        """What the peer had taken when its time began."""

    def begin(self, sent: AnswerWriter, now_s: float) -> float:
        """Begin to count; return until when the peer has time.

        Raises:
            OSError: the connection is closed.
        """
        self._began_s, self._taken_bytes = now_s, sent.taken_bytes()
        return now_s + self._patience.min_rate_window_s

    def wait(self, waited_s: float) -> float:
        """Leave out what the peer had no part in; return until when it has time."""
        self._began_s += waited_s
        return self._began_s + self._patience.min_rate_window_s

    def is_kept(self, sent: AnswerWriter, now_s: float) -> bool:
        """Whether the peer took what the least rate asks for since its time began.

        Raises:
            OSError: the connection is closed.
        """
        taken = sent.taken_bytes() - self._taken_bytes
        return taken > 0 and taken >= self._patience.min_rate * (now_s - self._began_s)
