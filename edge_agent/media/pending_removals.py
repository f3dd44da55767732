"""Why verified recordings that should go stay for now, and until when. In memory: a restart asks anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.core.recording import Recording
from edge_agent.core.retention import quiet_s
from edge_agent.media.awaited_repairs import AwaitedRepairs

log = structlog.get_logger()

_RETRY_S = 60.0
_QUIET_AT_ONCE = 200
"""Whose quiet time is counted: bounds what a look at all of them takes. The others wait for these."""
_MAX_TOLD = 50
"""Reasons told at a time: each one told copies all of them."""

_WRITTEN = "verified, and a program has it open for writing: it is deleted once that is closed"
_UNKNOWN = (
    "verified, and the kernel cannot tell whether a program has it open for writing: it is deleted"
    " once it was quiet for {minutes:.0f} minutes"
)
_UNCONFIRMED = (
    "verified more than 24 h ago, so the server is asked whether it still holds it before it is deleted"
    " here; asked again each minute: {why}"
)

_REPAIR = (
    "verified; it was written to when the device was switched off, and some cameras mend such a file when"
    " they start: it is deleted a quarter of an hour after the start"
)


class PendingRemovals:
    """When each of them is looked at again, and what a person is told. For the janitor's thread.

    Args:
        is_watched: whether a folder of that name is watched now; nothing is said of others, for nobody would end it.
    """

    def __init__(
        self,
        activity: Activity,
        awaited: AwaitedRepairs | None = None,
        *,
        is_watched: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._activity = activity
        self._awaited = awaited
        self._is_watched = is_watched
        self._until_s: dict[str, float] = {}
        self._quiet_since_s: dict[str, float] = {}
        self._told: set[str] = set()
        self._troubled: dict[str, str] = {}
        """Recording -> the folder that it is in."""

    def must_wait(self, recording_id: str, now_s: float) -> bool:
        return self._until_s.get(recording_id, now_s) > now_s

    def wait(self, recording_id: str, now_s: float) -> None:
        """Look again in a minute; nobody need know."""
        self._until_s[recording_id] = now_s + _RETRY_S

    def written(self, recording_id: str, now_s: float) -> None:
        """A program has it open for writing."""
        self.disturb(recording_id)
        self.wait(recording_id, now_s)
        self._tell(recording_id, _WRITTEN)

    def awaits_repair(self, recording_id: str, now_s: float) -> bool:
        """Return whether its camera may still mend it."""
        if self._awaited is None or not self._awaited.holds(recording_id):
            return False
        self.wait(recording_id, now_s)
        self._tell(recording_id, _REPAIR)
        return True

    def unconfirmed(self, recording_id: str, why: str, now_s: float) -> None:
        """The server must be asked whether it still holds it, and cannot be."""
        self.wait(recording_id, now_s)
        self._tell(recording_id, _UNCONFIRMED.format(why=why), Reason.LINK)

    def confirmed(self, recording_id: str) -> None:
        """The server still holds it."""
        self._until_s.pop(recording_id, None)
        self._untell(recording_id)

    def is_quiet(self, recording_id: str, now_s: float, *, fallback_s: float) -> bool | None:
        """Return whether it was quiet for long enough to go where nobody can say who writes.

        Returns:
            None: too many are waited for; ask again when some of them are gone.
        """
        needed_s = quiet_s(fallback_s)
        since_s = self._quiet_since_s.get(recording_id)
        if since_s is None:
            if len(self._quiet_since_s) >= _QUIET_AT_ONCE:
                self._forget_overdue(now_s - needed_s - _RETRY_S)
            if len(self._quiet_since_s) >= _QUIET_AT_ONCE:
                return None
            since_s = self._quiet_since_s[recording_id] = now_s
        if now_s >= since_s + needed_s:
            return True
        self._until_s[recording_id] = since_s + needed_s
        self._tell(recording_id, _UNKNOWN.format(minutes=needed_s / 60))
        return False

    def count_quiet(self, recording_ids: Iterable[str], now_s: float) -> None:
        """Count the quiet time of those before they must go: there is room yet.

        Beside them only of those that would go already, but for that time: they lie on another card.
        """
        before = self._quiet_since_s
        waiting = {one: at for one, at in before.items() if self.must_wait(one, now_s)}
        self._quiet_since_s = waiting | {one: before.get(one, now_s) for one in recording_ids}

    def _forget_overdue(self, since_s: float) -> None:
        """Give up the places of those that somebody else has taken away: nobody asks for them again."""
        self._quiet_since_s = {key: at for key, at in self._quiet_since_s.items() if at >= since_s}

    def disturb(self, recording_id: str) -> None:
        """Its quiet time begins anew: it is not as it was."""
        self._quiet_since_s.pop(recording_id, None)

    def trouble(self, recording: Recording, why: str, now_s: float) -> None:
        """It cannot be deleted, and a person should know."""
        before = self._troubled.get(recording.id, recording.watch)
        self._troubled[recording.id] = recording.watch
        for watch in {before, recording.watch}:  # it was moved from one to the other
            self._tell_troubled(watch)
        log.warning("upload.not_released", recording_id=recording.id, error=why, wait_s=_RETRY_S)
        self.wait(recording.id, now_s)

    def forget(self, recording_id: str) -> None:
        """It is gone, or it is kept for ever."""
        self._until_s.pop(recording_id, None)
        self._quiet_since_s.pop(recording_id, None)
        self._untell(recording_id)
        watch = self._troubled.pop(recording_id, None)
        if watch is not None:
            self._tell_troubled(watch)

    def _tell_troubled(self, watch: str) -> None:
        has_some = watch in self._troubled.values() and self._is_watched(watch)
        self._activity.keep_undeleted(has_some, watch=watch)

    def forget_past(self, now_s: float) -> None:
        """Forget the times that are over: others may have moved those recordings."""
        self._until_s = {key: at for key, at in self._until_s.items() if at > now_s}

    def _tell(self, recording_id: str, why: str, reason: Reason = Reason.STILL_RECORDING) -> None:
        if recording_id in self._told or len(self._told) < _MAX_TOLD:
            self._told.add(recording_id)
            self._activity.wait(recording_id, Wait(reason, why))

    def _untell(self, recording_id: str) -> None:
        if recording_id in self._told:
            self._told.discard(recording_id)
            self._activity.wait(recording_id, None)
