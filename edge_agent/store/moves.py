"""One step of a recording, with all that is written beside it, in the caller's transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, IllegalTransitionError, State, advance
from edge_agent.store.database_file import Connection
from edge_agent.store.given_up import GivenUp
from edge_agent.store.groups import Groups
from edge_agent.store.notes import Notes
from edge_agent.store.outbox import NewEvent, Outbox
from edge_agent.store.running_time import RunningTime
from edge_agent.store.schema import COLUMNS, changed_columns, to_recording

_PAST = frozenset({State.RELEASED, State.OVERWRITTEN})
_KEEP_PAST = 1000
"""Recordings remembered in each of these, for `status` and for people; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class Move:
    """One step of one recording through the state table."""

    recording: Recording
    event: Event
    changes: Mapping[str, Any] = field(default_factory=dict)
    tell: Sequence[NewEvent] = ()
    sent: int = 0
    """Bytes put on the wire for it that no other move has counted."""
    resent: int = 0
    """Bytes of these that the server had lost, or that went twice."""


class Moves:
    """Writes steps and changes of recordings, their events and what they count."""

    def __init__(self, outbox: Outbox, notes: Notes, running: RunningTime, groups: Groups) -> None:
        self._groups = groups
        self._outbox = outbox
        self._notes = notes
        self._running = running
        self._last_lost: tuple[str, State, Event] | None = None

    def do(self, run: Connection, move: Move) -> Recording:
        """Do *move*; return the recording as it is then.

        Raises:
            StaleRecordingError: another worker moved it meanwhile.
            IllegalTransitionError: told that, its worker has come with the same move once more.
        """
        now = _current(run, move.recording)
        is_receipt = move.event is Event.RECEIPT_STORED
        if now.state is not move.recording.state or (
            # Rewritten, and sent once more, while the answer to the first time was on its way.
            is_receipt and now.digest != move.recording.digest
        ):
            raise StaleRecordingError(now.id)
        state = self._next_state(now, move.event)
        moved = _with_key(replace(now, state=state, **move.changes))
        if is_receipt:
            moved = replace(moved, receipt_s=self._running.now_s())
            self._running.write(run)
        _write(run, now, moved)
        if move.sent:
            self._notes.count(run, bytes_sent=move.sent, bytes_resent=move.resent)
        if is_receipt:
            self._notes.count(
                run,
                files_verified=1,
                last_verified_at=moved.verified_at,
            )
        elif moved.state is State.FAILED:
            self._notes.count(run, files_failed=1)
        elif moved.state is State.OVERWRITTEN:
            self._notes.count(run, files_overwritten=1)
        if moved.state in _PAST:
            _forget_old(run, moved.state)
        for one in move.tell:
            self._outbox.write(run, one)
        return moved

    def _next_state(self, now: Recording, event: Event) -> State:
        """Return the state after *event*, which was decided on by an earlier look than *now*, perhaps.

        Between the look that a decision rests on and the one that its move names, another worker may
        have been faster: whoever lost is told so and looks again. Who then says the same of the same
        state has not looked, and that is a bug.
        """
        try:
            return advance(now.state, event)
        except IllegalTransitionError:
            lost = (now.id, now.state, event)
            if lost == self._last_lost:
                raise
            self._last_lost = lost
            raise StaleRecordingError(now.id) from None

    def change(
        self,
        run: Connection,
        recording: Recording,
        changes: Mapping[str, Any],
        tell: Sequence[NewEvent],
    ) -> Recording:
        """Change facts without changing state; return the recording as it is then.

        Raises:
            StaleRecordingError: it was forgotten meanwhile.
        """
        now = _current(run, recording)
        changed = _with_key(replace(now, **changes))
        _write(run, now, changed)
        if (changed.path, changed.name) != (now.path, now.name):
            changed = replace(changed, role=self._groups.place(run, changed))
        for one in tell:
            self._outbox.write(run, one)
        return changed


def _with_key(recording: Recording) -> Recording:
    """Give a recording that an upload may be created for the key to do it with.

    Durable before it is used, so that after a power cut the same upload is found again, and in the
    commit that makes the recording ready: one of its own would wear the card for nothing.
    """
    if recording.state is not State.STABLE or recording.idempotency_key is not None:
        return recording
    return replace(recording, idempotency_key=new_key())


def new_key() -> str:
    """Return an idempotency key: 128 random bits, as text."""
    return secrets.token_hex(16)


def _forget_old(run: Connection, state: State) -> None:
    oldest = run.execute(
        "SELECT seq FROM recording WHERE state = ? ORDER BY seq DESC LIMIT 1 OFFSET ?",
        (state, _KEEP_PAST),
    ).fetchone()
    if oldest is None:
        return
    forgotten = run.execute(
        "DELETE FROM recording WHERE state = ? AND seq <= ? RETURNING upload_id",
        (state, oldest[0]),
    ).fetchall()
    if state is State.OVERWRITTEN:  # until here its card might have come back
        for (upload_id,) in forgotten:
            if upload_id is not None:
                GivenUp.add(run, upload_id)


def _current(run: Connection, recording: Recording) -> Recording:
    """Return the row as it is now: the watcher renames what the sender is busy with."""
    row = run.execute(f"SELECT {COLUMNS} FROM recording WHERE id = ?", (recording.id,)).fetchone()
    if row is None:
        raise StaleRecordingError(recording.id)
    return to_recording(row)


def _write(run: Connection, before: Recording, after: Recording) -> None:
    """Write what differs: an index whose columns are not named costs no page."""
    changed = changed_columns(before, after)
    if not changed:
        return
    if before.upload_id is not None and after.upload_id != before.upload_id:
        GivenUp.add(run, before.upload_id)
    # Names of `schema`'s own; every value is bound.
    columns = ", ".join(f"{column} = ?" for column in changed)
    run.execute(f"UPDATE recording SET {columns} WHERE seq = ?", (*changed.values(), after.seq))
