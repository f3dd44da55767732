"""Why nothing is sent, and why one recording waits (law L5): the answers, out of the board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Travel, View, Wait
from edge_agent.core.groups import Role
from edge_agent.core.recording import Recording
from edge_agent.core.schedule import DUE, URGENT
from edge_agent.core.upload import PENDING, State

SETTLED: Final = (State.STABLE, State.SENDING, State.SENT)
"""States in which a recording could be sent."""
UNFINISHED: Final = (State.SEEN, State.GROWING)
"""States in which its recorder may still write to a recording."""
OF_SETTLING: Final = frozenset({Reason.STILL_RECORDING, Reason.PERMISSION})
"""Why an unfinished recording may wait by itself."""


def blocking(view: View, counts: Mapping[State, tuple[int, int]]) -> Wait | None:
    """Return why nothing is sent although something waits; None while something is sent, or idle."""
    if view.blocked_by is not None:
        return _of_folder(view.blocked_by, view)
    if view.current is not None:
        return None
    if ProblemCode.STORE in view.problems:
        # What is found now cannot be remembered, so it is in no count of what waits.
        return Wait(Reason.DISK, "state_dir cannot be written: is its disk full or read-only?")
    if view.folder is not None:
        return view.folder
    if view.travels:
        return _travelling(view)
    unfinished = sum(counts.get(state, (0, 0))[0] for state in UNFINISHED)
    if unfinished:
        own = [one for one in view.waits.values() if one.reason in OF_SETTLING]
        if unfinished == len(own) == 1:
            return own[0]
        if unfinished == 1:
            detail = "it is being written, or was a moment ago"
        else:
            detail = f"{unfinished} recordings are being written, or were a moment ago"
        return Wait(Reason.STILL_RECORDING, detail)
    return None


def _travelling(view: View) -> Wait:
    """Return how far what is sent while it is recorded is, of many the one that is furthest behind."""
    furthest = max(view.travels.values(), key=lambda one: one.lag_s)
    wait = _still(furthest)
    if len(view.travels) == 1:
        return wait
    return Wait(
        wait.reason, f"{len(view.travels)} recordings are written to; of one, {wait.detail}"
    )


def _still(travel: Travel) -> Wait:
    detail = (
        f"being recorded, and sent meanwhile: {travel.acknowledged / 1e6:.1f} of {travel.length / 1e6:.1f} MB"
        f" are at the server, {travel.lag_s:.0f} s behind the recorder"
    )
    return Wait(Reason.STILL_RECORDING, detail)


def reason_of(recording: Recording, view: View) -> Wait | None:
    """Return why *recording* waits (law L5); None: it is being sent, or has nothing to wait for.

    A verified one may wait to be deleted.
    """
    if recording.state is State.VERIFIED:
        return view.waits.get(recording.id)
    if recording.state not in PENDING:
        return None
    is_current = view.current is not None and view.current.recording_id == recording.id
    if is_current:
        return view.blocked_by
    is_watched = recording.origin == "watch"
    if (travel := view.travels.get(recording.id)) is not None and recording.state is State.GROWING:
        return _still(travel)
    holds_all = view.blocked_by is not None and view.blocked_by.holds_all
    if holds_all and recording.state not in (State.SEEN, State.GROWING):
        return view.blocked_by
    if (own := view.waits.get(recording.id)) is not None:
        return _of_folder(own, view, recording.watch) if is_watched else own
    if is_watched and (away := view.away(recording.watch)) is not None:
        return away
    if view.originals is not None:
        is_metered = view.originals.reason is Reason.METERED
        if _is_held(recording, DUE if is_metered else URGENT):
            return view.originals
    if recording.state in (State.SEEN, State.GROWING):
        return Wait(Reason.STILL_RECORDING, "being written, or was a moment ago")
    if view.blocked_by is not None:
        return view.blocked_by
    if view.current is None:
        return Wait(Reason.QUEUED, "its turn is next, or the server is just being asked about it")
    return Wait(Reason.QUEUED, "other recordings are sent first")


def _is_held(recording: Recording, least: int) -> bool:
    """Return whether *recording* waits where originals do."""
    is_wanted = recording.priority >= least
    return recording.role is Role.ORIGINAL and recording.state in SETTLED and not is_wanted


def _of_folder(wait: Wait, view: View, watch: str | None = None) -> Wait:
    """Return why the whole folder is away, where *wait* is for a file that is; None: in any of them."""
    if wait.reason is not Reason.SOURCE_MISSING:
        return wait
    away = view.away(watch) if watch is not None else view.any_away
    return wait if away is None else away
