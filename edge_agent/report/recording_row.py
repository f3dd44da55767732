"""One recording as a person sees it: the row of ``status --json`` and of what the server is told."""

from __future__ import annotations

from typing import Any

from edge_agent.base.view import View
from edge_agent.core.printable import printable
from edge_agent.core.recording import Recording
from edge_agent.core.upload import State
from edge_agent.report.state_document import percent
from edge_agent.report.waiting import reason_of

DONE = (State.VERIFIED, State.KEPT, State.RELEASED)


_ALL_THERE = frozenset({*DONE, State.SENT})
"""States in which the server has every byte."""


def describe(recording: Recording, view: View) -> dict[str, Any]:
    """Return one recording as a person sees it: printable, with the reason for its wait."""
    wait = reason_of(recording, view)
    travel = view.travels.get(recording.id) if recording.state is State.GROWING else None
    length = recording.identity.length if travel is None else travel.length
    acknowledged = _acknowledged(recording, view) if travel is None else travel.acknowledged
    is_current = view.current is not None and view.current.recording_id == recording.id
    current = view.current if is_current else None
    return {
        "file_id": recording.id,
        "path": printable(recording.path),
        "folder": recording.folder,
        "name": recording.name,
        "state": str(recording.state),
        "length": length,
        "acknowledged": acknowledged,
        "in_flight": current.in_flight if current is not None else 0,
        "percent": _percent(recording, acknowledged, length),
        "reason": None if wait is None else str(wait.reason),
        "detail": recording.detail if wait is None else wait.detail,
        "problem": recording.problem,
        "published_as": recording.published_as,
        "supersedes": recording.supersedes,
        "seen_at": recording.seen_at,
        "verified_at": recording.verified_at,
        "is_done": recording.state in DONE and recording.receipt is not None,
    }


def _percent(recording: Recording, acknowledged: int | None, length: int) -> float | None:
    if recording.state in _ALL_THERE:
        return 100.0
    return None if acknowledged is None else percent(acknowledged, length)


def _acknowledged(recording: Recording, view: View) -> int | None:
    """Return the bytes that the server holds as far as it is known here; None: only it knows."""
    if recording.state in _ALL_THERE:
        return recording.identity.length
    if view.current is not None and view.current.recording_id == recording.id:
        return view.current.acknowledged
    return None if recording.upload_id is not None else 0
