"""Recordings of which a part was sent while they were written, and whose name is another file's now.

Whoever has such a file open reads it to its end (`send/begun_sources`). Where nobody has, its bytes are
nowhere but at the server: it is given up, the server is told, and people once.
"""

from __future__ import annotations

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import StaleRecordingError
from edge_agent.core.recording import Identity, Recording
from edge_agent.core.upload import State
from edge_agent.media.rings import count_overwritten
from edge_agent.media.same_file import is_another_file
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_LOST = (
    "another file took its name before it was finished, and its own was not open here any more (the agent was"
    " stopped, the disk was low, or there were more of them than lanes): what the server had of it is given up"
)


class ReplacedFiles:
    """For the thread of one folder's watcher."""

    def __init__(self, store: Store, activity: Activity) -> None:
        self._store = store
        self._activity = activity

    def is_left_alone(self, recording: Recording, identity: Identity) -> bool:
        """Return whether whoever has *recording*'s file open sees to it, for its name leads to *identity*."""
        is_open = recording.id in self._activity.held
        return is_open and identity.inode != recording.identity.inode

    def has_lost(self, recording: Recording, identity: Identity) -> bool:
        """Return whether *recording*'s file, a part of which was sent, is lost; it is given up then.

        Any doubt is False: its upload goes on with what has its name, and each block that differs goes again.

        Args:
            recording: is not finished, or was changed.
            identity: what its name leads to.

        Raises:
            StoreError: it is not written down that it is given up.
        """
        if recording.upload_id is None or recording.id in self._activity.held:
            return False
        if not self._is_anothers(recording, identity):
            return False
        try:
            count_overwritten(self._store, recording, is_rewritten=True, lost=_LOST)
        except StaleRecordingError:  # whoever moved it this instant has seen to it
            return False
        self._activity.wait(recording.id, None)
        return True

    def _is_anothers(self, recording: Recording, identity: Identity) -> bool:
        newest = self._store.newest_at(recording.path)
        if newest is not None and newest.id != recording.id:
            return True
        is_growing = recording.state is State.GROWING  # else it was finished, and is changed
        return is_growing and is_another_file(recording.path, recording.identity, identity)
