"""Who waits for what, and until when. Every wait is put on the board as it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Wait
from edge_agent.core.schedule import Note

SHORTEST_WAIT_S = 0.2
"""Full jitter may draw zero, and a loop that fails at once must not spin."""

LONGEST_STEP_S = 30.0
"""Even a long wait is looked at this often, for the watchdog and for what may have changed."""


_LOOKED_AT = 100
_TROUBLES_LOOKED_AT = 10
"""At each step, busy ones too."""

_TROUBLES = {
    Reason.PERMISSION: ProblemCode.PERMISSION,
    Reason.SOURCE_IO: ProblemCode.SOURCE_IO,
}
_OF_RULES = frozenset(
    {Reason.PAUSED, Reason.HOLD, Reason.POWER, Reason.PLAN, Reason.METERED, Reason.SCHEDULE}
)

_NOTES = {
    one.value: one
    for one in (
        ProblemCode.RULE_UNKNOWN,
        ProblemCode.HOLD_STALE,
        ProblemCode.PLAN_LOW,
        ProblemCode.DEADLINE_LATE,
    )
}
"""What a note of the rules may be about."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RecordingWait:
    until_s: float
    wait: Wait
    is_foreign: bool = False
    """Whether something on the way has ordered it, which another way knows nothing of."""


class Waits:
    """Waits of single recordings, and one of all lanes."""

    def __init__(self, activity: Activity, clock: Clock) -> None:
        self._activity = activity
        self._clock = clock
        self._each: dict[str, RecordingWait] = {}
        self.lane: RecordingWait | None = None
        self._troubled: dict[ProblemCode, dict[str, None]] = {
            code: {} for code in _TROUBLES.values()
        }
        """Recordings that could not be read, until they are sent or gone: one that is tried again may
        be read for minutes before the same sector comes."""
        self.originals: Wait | None = None
        """Why originals wait."""
        self._told: Reason | None = None
        """What the log was told of last, since something got through."""

    @property
    def silent(self) -> frozenset[str]:
        """Names of the watched folders that do not answer: of what lies there nothing is asked."""
        return self._activity.view().silent

    def hold(self, recording_id: str, reason: Reason, detail: str, wait_s: float) -> float:
        """Let one recording wait; return 0: the lane goes on with the next."""
        until_s = self._clock.now_s() + max(SHORTEST_WAIT_S, wait_s)
        wait = Wait(reason, detail, until_s)
        self._each[recording_id] = RecordingWait(until_s, wait)
        self._activity.wait(recording_id, wait)
        if (code := _TROUBLES.get(reason)) is not None:
            self._troubled[code][recording_id] = None
            self._activity.problem(code, present=True)
        return 0.0

    def _end_trouble(self, recording_id: str) -> None:
        for code, recordings in self._troubled.items():
            if recording_id in recordings:
                del recordings[recording_id]
                self._activity.problem(code, present=bool(recordings))

    def hold_originals(self, wait: Wait | None) -> None:
        """Say why originals wait; None: they do not."""
        self.originals = wait
        self._activity.hold_originals(wait)

    def note_rules(self, notes: Sequence[Note]) -> None:
        """Say what people should know of the owner's rules, all of it."""
        self._activity.note_rules(tuple((_NOTES[one.code], one.text) for one in notes))

    def hold_lane(
        self, reason: Reason, detail: str, wait_s: float, *, is_foreign: bool = False
    ) -> float:
        """Let everything wait; return the seconds until the next look."""
        wait_s = max(SHORTEST_WAIT_S, wait_s)
        until_s = self._clock.now_s() + wait_s
        wait = Wait(reason, detail, until_s, holds_all=True)
        self._activity.block(wait)
        self.lane = RecordingWait(until_s, wait, is_foreign)
        if reason is not self._told:
            self._told = reason
            say = log.info if reason in _OF_RULES else log.warning
            say("upload.waiting", reason=reason.value, detail=detail, wait_s=round(wait_s, 1))
        return min(wait_s, LONGEST_STEP_S)

    def lane_left_s(self, now_s: float) -> float:
        """Return the seconds that the lane still waits; 0: it is free."""
        if self.lane is None:
            return 0.0
        left_s = self.lane.until_s - now_s
        if left_s <= 0:
            self.lane = None
            return 0.0
        return min(left_s, LONGEST_STEP_S)

    def release_link(self) -> None:
        """Somebody got through: those who wait for the link need not."""
        self._told = None
        if self.lane is not None and self.lane.wait.reason is Reason.LINK:
            self.lane = None
            self._activity.block(None)

    def release_foreign(self) -> None:
        """The link is another one, perhaps: what was on the way before has nothing to say."""
        if self.lane is not None and self.lane.is_foreign:
            self.lane = None
            self._activity.block(None)

    def release_rules(self) -> None:
        """The owner's rules allow it again."""
        if self.lane is not None and self.lane.wait.reason in _OF_RULES:
            self.lane = None
            self._activity.block(None)

    def is_held(self, recording_id: str, now_s: float) -> bool:
        hold = self._each.get(recording_id)
        return hold is not None and hold.until_s > now_s

    def release(self, recording_id: str) -> None:
        self._each.pop(recording_id, None)
        self._activity.wait(recording_id, None)
        self._end_trouble(recording_id)

    def release_over(self, now_s: float) -> None:
        """Take waits that are over off the board, where they wait for a lane now; some at each call."""
        looked_at = [(one, self._each.pop(one)) for one in list(islice(self._each, _LOOKED_AT))]
        for one, hold in looked_at:
            if hold.until_s > now_s:
                self._each[one] = hold  # to the end: the next call looks at others
            else:
                self._activity.wait(one, None)

    def release_gone(self, is_pending: Callable[[str], bool]) -> None:
        """Forget recordings that others have taken out of the lane; some of them at each call."""
        for one in list(islice(self._each, _LOOKED_AT)):
            hold = self._each.pop(one)
            if is_pending(one):
                self._each[one] = hold  # to the end: the next call looks at others
            else:
                self._activity.wait(one, None)

    def end_troubles(self, is_pending: Callable[[str], bool]) -> None:
        """Forget what could not be read and was taken out of the lane; some of them at each call."""
        for recordings in self._troubled.values():
            for one in list(islice(recordings, _TROUBLES_LOOKED_AT)):
                if is_pending(one):
                    recordings[one] = recordings.pop(one)  # to the end
                else:
                    self._end_trouble(one)

    def first(self) -> RecordingWait | None:
        """Return the hold of a recording that ends first."""
        return min(self._each.values(), key=lambda hold: hold.until_s, default=None)
