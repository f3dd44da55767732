"""The life of one recording, as a table.

    SEEN -> (GROWING ->) STABLE -> SENDING -> SENT -> VERIFIED (<-> KEPT) -> RELEASED,  and FAILED,
    OVERWRITTEN

Rules that the table keeps, and `tests/properties/test_state_table.py` proves:

* Only VERIFIED leads to RELEASED: nothing is let go without the server's receipt (law L2).
* Every state but RELEASED has a way out, FAILED and KEPT among them: nothing is stuck for ever.
* A source that changed goes back to SEEN, whatever had been sent of it.
* SENT needs no file any more: that it is gone ends nothing.

Who moves a recording is listed in `docs/states.md`, which a test holds to the code.

What is *not* here: why a recording waits (that is `blocked_by`, computed, never stored), and the
acknowledged ranges (the server knows them and is asked).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    SEEN = "seen"
    """Found by a scan; nobody knows yet whether it is finished."""
    GROWING = "growing"
    """Somebody still writes to it."""
    STABLE = "stable"
    """Finished; waits for its turn, or for an upload to be created."""
    SENDING = "sending"
    """The server knows the upload; bytes are on their way."""
    SENT = "sent"
    """Every byte is acknowledged; the whole-file digest is known and to be compared."""
    VERIFIED = "verified"
    """The server's receipt is durable here; the file may be let go."""
    RELEASED = "released"
    """The file is gone from the device, by us or by its owner."""
    KEPT = "kept"
    """Verified, and stays on the device as long as the configuration says so."""
    FAILED = "failed"
    """Kept for a person: the problem code says why."""
    OVERWRITTEN = "overwritten"
    """Deleted by its recorder, which keeps a ring of files, before it was sent: counted, no more."""


class Event(StrEnum):
    GREW = "grew"
    SETTLED = "settled"
    UPLOAD_CREATED = "upload created"
    ALL_ACKNOWLEDGED = "all acknowledged"
    RECEIPT_STORED = "receipt stored"
    DIGEST_MISMATCHED = "digest mismatched"
    RANGES_MISSING = "ranges missing"
    UPLOAD_LOST = "upload lost"
    SOURCE_CHANGED = "source changed"
    SOURCE_VANISHED = "source vanished"
    SOURCE_OVERWRITTEN = "source overwritten"
    REJECTED = "rejected"
    RETRIED = "retried"
    DELETED = "deleted"
    KEEPING = "keeping"
    KEEPING_NO_MORE = "keeping no more"


_LOST_WITH_THEIR_FILE = (State.SEEN, State.GROWING, State.STABLE, State.SENDING)
_UNSENT = (*_LOST_WITH_THEIR_FILE, State.SENT)

TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType(
    {
        (State.SEEN, Event.GREW): State.GROWING,
        (State.SEEN, Event.SETTLED): State.STABLE,
        (State.SEEN, Event.SOURCE_VANISHED): State.FAILED,
        (State.SEEN, Event.REJECTED): State.FAILED,
        (State.GROWING, Event.GREW): State.GROWING,
        (State.GROWING, Event.SETTLED): State.STABLE,
        (State.GROWING, Event.SOURCE_VANISHED): State.FAILED,
        (State.GROWING, Event.REJECTED): State.FAILED,
        (State.STABLE, Event.UPLOAD_CREATED): State.SENDING,
        (State.STABLE, Event.SOURCE_CHANGED): State.SEEN,
        (State.STABLE, Event.SOURCE_VANISHED): State.FAILED,
        (State.STABLE, Event.REJECTED): State.FAILED,
        (State.SENDING, Event.ALL_ACKNOWLEDGED): State.SENT,
        (State.SENDING, Event.UPLOAD_LOST): State.STABLE,
        (State.SENDING, Event.SOURCE_CHANGED): State.SEEN,
        (State.SENDING, Event.SOURCE_VANISHED): State.FAILED,
        (State.SENDING, Event.REJECTED): State.FAILED,
        (State.SENT, Event.RECEIPT_STORED): State.VERIFIED,
        (State.SENT, Event.DIGEST_MISMATCHED): State.SENDING,
        (State.SENT, Event.RANGES_MISSING): State.SENDING,
        (State.SENT, Event.UPLOAD_LOST): State.STABLE,
        (State.SENT, Event.SOURCE_CHANGED): State.SEEN,
        (State.SENT, Event.REJECTED): State.FAILED,
        (State.VERIFIED, Event.DELETED): State.RELEASED,
        (State.VERIFIED, Event.SOURCE_VANISHED): State.RELEASED,
        (State.VERIFIED, Event.SOURCE_CHANGED): State.RELEASED,
        (State.VERIFIED, Event.REJECTED): State.FAILED,
        (State.VERIFIED, Event.KEEPING): State.KEPT,
        (State.KEPT, Event.KEEPING_NO_MORE): State.VERIFIED,
        **{(state, Event.SOURCE_OVERWRITTEN): State.OVERWRITTEN for state in _LOST_WITH_THEIR_FILE},
        (State.OVERWRITTEN, Event.RETRIED): State.SEEN,
        (State.FAILED, Event.RETRIED): State.SEEN,
        (State.FAILED, Event.SOURCE_CHANGED): State.SEEN,
    }
)

FINAL = frozenset({State.RELEASED})
"""States that nothing leads out of."""

PENDING = frozenset(_UNSENT)
"""States in which the server does not hold the recording yet."""


class IllegalTransitionError(Exception):
    """*event* cannot happen in *state*: a bug here, not a fault of the link or the server."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a recording that is {state} cannot be told: {event}")
        self.state = state
        self.event = event


def advance(state: State, event: Event) -> State:
    """Return the state after *event*.

    Raises:
        IllegalTransitionError: the table has no such row.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransitionError(state, event) from None
