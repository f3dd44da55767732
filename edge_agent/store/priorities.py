"""The owner's priorities, put on what is remembered already and on what is found from now on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edge_agent.core.schedule import PriorityRule, priority_of
from edge_agent.core.upload import PENDING
from edge_agent.store.recordings import Store

_APPLIED = "priorities"
_PAGE = 500


def apply(store: Store, rules: Sequence[PriorityRule]) -> None:
    """Let *rules* hold. The queue is gone through only when they are others than before.

    Raises:
        StoreError: not, or not all of it; the next start does it again.
    """
    store.priority_of = partial(priority_of, tuple(rules)) if rules else None
    wanted = [[rule.match, rule.value] for rule in rules]
    if (store.notes.get(_APPLIED) or []) == wanted:
        return
    after = 0
    while page := store.in_states(*PENDING, after_seq=after, limit=_PAGE):
        store.prioritise(page)
        after = page[-1].seq
    store.notes.put(_APPLIED, wanted or None)
