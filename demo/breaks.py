"""Whether what was being sent goes on after an interruption, and from where. Touches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class GoneOn(NamedTuple):
    """A recording that goes on, and at how many of its bytes."""

    name: object
    held: int
    length: int


class Break:
    """Whether what was being sent goes on after an interruption, and from where."""

    def __init__(self) -> None:
        self._is_open = False
        self._is_mended = True
        self._was_noticed = False
        self._last: tuple[object, int, int] | None = None
        self._begun: object = None
        self.taken_over: object = None
        """The file that an agent goes on with which was started after another had begun it."""

    def has_begun(self, file_id: object) -> None:
        """Say that this one was begun under whoever watches."""
        self._begun = file_id

    def begin(self) -> None:
        """Something was interrupted; whether the agent notices is seen later."""
        self._is_open, self._is_mended = True, False

    def mend(self) -> None:
        """All works again; whether the agent has found out is seen later."""
        self._is_mended = True

    def gone_on(self, document: Mapping[str, Any]) -> GoneOn | None:
        """Return which file goes on, and where, if *document* is the first to say so."""
        is_down = "server_unreachable" in (document.get("problems") or ())
        if is_down or document.get("blocked_by") in {"link", "backoff"}:
            self._is_open = self._was_noticed = True
            return None
        current = document.get("current")
        if not isinstance(current, Mapping) or document.get("blocked_by"):
            return None
        length, held = int(current.get("length") or 0), int(current.get("acknowledged") or 0)
        last, seq = self._last, int(document.get("seq") or 0)
        self._last = (current.get("file_id"), held, seq)
        if last is None:  # the first one that is seen
            self._is_open = self._was_noticed = False
            if not held or not length or self._begun is not None:
                return None
            self.taken_over = self._last[0]  # it was begun before anybody watched
            return GoneOn(current.get("name"), held, length)
        if not (self._is_open and self._is_mended) or not length:
            return None
        is_anew = seq < last[2]  # an agent that was started again counts from 1
        if not (self._was_noticed or is_anew or held > last[1]):
            return None  # it does not know yet
        if is_anew:
            self.taken_over = self._last[0]
        self._is_open = self._was_noticed = False
        if last[0] != self._last[0] or not held:
            return None
        return GoneOn(current.get("name"), held, length)

    def whole(self, file_id: object, name: object, length: object) -> GoneOn | None:
        """Return the same for one that is verified before any document says that it goes on."""
        last, is_over = self._last, self._is_open and self._is_mended and self._was_noticed
        if not is_over or last is None or last[0] != file_id or not last[1]:
            return None
        self._is_open = self._was_noticed = False
        return GoneOn(name, last[1], length) if isinstance(length, int) and length else None
