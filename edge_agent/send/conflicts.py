"""Which conflicts of an upload with the server end by themselves, and which never will."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.base.clock import Clock
from edge_agent.core.recording import Recording
from edge_agent.send.upload_progress import UploadProgress

_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class _Conflict:
    upload_id: str | None
    most_held: int
    """Bytes that the server had held at most, when it was settled."""
    settled_s: float


class Conflicts:
    """Remembers the last conflict of each recording. In memory: a restart asks the server once more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, _Conflict] = {}

    def cannot_end(
        self, recording: Recording, progress: UploadProgress | None, began_s: float
    ) -> bool:
        """Note a conflict; return whether asking the server has not helped after the last one.

        It has helped if the server held more afterwards than ever before: bytes that it takes and
        loses again are no end of it.

        Args:
            began_s: of the request. Lanes that were under way when the last conflict was settled had
                the same one.
        """
        most = 0 if progress is None else max(progress.grown_to or 0, progress.held.total)
        last = self._last.get(recording.id)
        if last is not None and last.upload_id == recording.upload_id:
            if began_s < last.settled_s:
                return False
            if most <= last.most_held:
                del self._last[recording.id]
                return True
        self._last.pop(recording.id, None)
        self._last[recording.id] = _Conflict(recording.upload_id, most, self._clock.now_s())
        if len(self._last) > _REMEMBERED:
            del self._last[next(iter(self._last))]
        return False
