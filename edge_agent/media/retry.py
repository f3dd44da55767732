"""Trying again what has failed: on a person's word, and by itself when the way to the server is another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from edge_agent.core.recording import FailureCode, Recording
from edge_agent.core.upload import Event, State
from edge_agent.store.moves import Move
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_WAY = "way"
_PAGE = 500
_AWAY = frozenset({FailureCode.SOURCE_MISSING, FailureCode.SOURCE_UNREADABLE})
"""Problems that end when the file is back, which the watcher notices; no server has said them."""

ANEW: dict[str, Any] = {
    "idempotency_key": None,
    "upload_id": None,
    "digest": None,
    "receipt": None,
    "receipt_s": None,
    "verified_at": None,
    "delete_allowed": False,
    "problem": None,
    "detail": None,
    "failures": 0,
}
"""What a recording that is tried again forgets."""


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of what a person named, or of all."""

    retried: int
    away: int = 0
    """Failed because the file is not there, or cannot be read: they go on when it can."""
    unknown: tuple[str, ...] = ()
    """Named, and no failed recording."""


def retry(store: Store, recordings: Iterable[Recording]) -> Retried:
    """Put those of *recordings* that failed by a server's word back to the beginning.

    Raises:
        StoreError: none of them.
    """
    asked = [one for one in recordings if one.state is State.FAILED]
    wanted = [one for one in asked if one.problem not in _AWAY]
    moved = store.advance_all([Move(one, Event.RETRIED, ANEW) for one in wanted])
    return Retried(len(moved), away=len(asked) - len(wanted))


def retry_all(store: Store, *, spare: str | None = None) -> Retried:
    """Do that with all that failed, but for those whose problem is *spare*.

    Raises:
        StoreError: not all of them; as often as one likes.
    """
    after, retried, away = 0, 0, 0
    while page := store.in_states(State.FAILED, after_seq=after, limit=_PAGE):
        after = page[-1].seq
        done = retry(store, [one for one in page if spare is None or one.problem != spare])
        retried, away = retried + done.retried, away + done.away
    return Retried(retried, away)


def retry_named(store: Store, ids: Iterable[str]) -> Retried:
    """Do that with the recordings *ids*.

    Raises:
        StoreError: none of them.
    """
    found = {one: store.get(one) for one in ids}
    failed = {key: one for key, one in found.items() if one and one.state is State.FAILED}
    done = retry(store, failed.values())
    unknown = tuple(key for key in found if key not in failed)
    return Retried(done.retried, done.away, unknown)


def retry_on_new_way(store: Store, way: str) -> int:
    """Try all again if *way*, whatever tells one way to the server from another, is not the last one.

    Returns:
        How many are tried again.

    Raises:
        StoreError: not all of them; the next call does the rest.
    """
    if store.notes.get(_WAY) == way:
        return 0
    retried = retry_all(store, spare=FailureCode.CANCELLED).retried
    store.notes.put(_WAY, way)
    if retried:
        log.info("upload.retried", files=retried, reason="another server url, login or version")
    return retried
