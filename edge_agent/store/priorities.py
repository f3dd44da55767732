"""The owner's priorities, put on what is remembered already and on what is found from now on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from functools import partial

from edge_agent.base.clock import Clock
from edge_agent.core.recording import Found, Recording
from edge_agent.core.schedule import DUE, PriorityRule, Ranked, priority_of
from edge_agent.core.upload import PENDING
from edge_agent.store.recordings import Store

_APPLIED = "priorities"
_PAGE = 500


def apply(store: Store, rules: Sequence[PriorityRule], clock: Clock | None = None) -> None:
    """Let *rules* hold. The queue is gone through only when they are others than before.

    Args:
        clock: tells how old a recording is; None: no rule of age fits.

    Raises:
        StoreError: not, or not all of it; the next start does it again.
    """
    store.priority_of = partial(_priority, tuple(rules), clock) if rules else None
    wanted = [list(astuple(rule)) for rule in rules]
    if (store.notes.get(_APPLIED) or []) == wanted:
        return
    after: int | None = 0
    while after is not None:
        after = review(store, after)
    store.notes.put(_APPLIED, wanted or None)


def review(store: Store, after_seq: int) -> int | None:
    """Give some recordings behind *after_seq* the priority of now; return the last; None: no more.

    What goes for its deadline's sake is left to whoever looks at deadlines.

    Raises:
        StoreError: they keep what they had; another call does it again.
    """
    page = store.in_states(*PENDING, after_seq=after_seq, limit=_PAGE)
    store.prioritise([one for one in page if one.priority != DUE])
    return page[-1].seq if len(page) == _PAGE else None


def _priority(rules: tuple[PriorityRule, ...], clock: Clock | None, one: Found | Recording) -> int:
    age_s = None
    if clock is not None and any(rule.is_of_age for rule in rules) and clock.is_synchronised():
        age_s = clock.now_utc().timestamp() - one.identity.mtime_ns / 1e9
    return priority_of(rules, Ranked(one.place, one.watch, one.identity.length, age_s))
