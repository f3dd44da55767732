"""Recordings that were written to when the power went: a camera may mend them when it starts again.

DJI's aircraft do, half a minute after they are switched on: the end of the recording is on the card, and only
the file does not say so. What is deleted before that cannot be mended; what is mended is found to have
changed, and is sent again.
"""

from __future__ import annotations

from edge_agent.core.upload import State
from edge_agent.store.recordings import Store

_NOTE = "awaited_repairs"
_PATIENCE_S = 15 * 60
"""Of the device's running time, after its start."""
_MOST = 100
"""The newest of them: a card that nobody had looked at yet may hold thousands."""


class AwaitedRepairs:
    """Made at the start of the agent, before anything settles. For one thread.

    Raises:
        StoreError: when it is made; what was unfinished could not be read, or not written down.
    """

    def __init__(self, store: Store, boot_id: str) -> None:
        self._running = store.running
        noted = store.notes.get(_NOTE)
        if noted is None or noted["boot_id"] != boot_id:
            unfinished = store.latest(State.SEEN, State.GROWING, limit=_MOST)
            noted = {
                "boot_id": boot_id,
                "until_s": store.running.now_s() + _PATIENCE_S,
                "ids": [one.id for one in unfinished],
            }
            store.notes.put(_NOTE, noted)
        self._until_s = int(noted["until_s"])
        self._ids = frozenset(noted["ids"])

    def holds(self, recording_id: str) -> bool:
        """Return whether its camera may still mend it."""
        return recording_id in self._ids and self._running.now_s() < self._until_s
