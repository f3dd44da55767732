"""How full the disk of a folder is: asked now and then, told once."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import RetentionSettings
from edge_agent.core.retention import is_low
from edge_agent.media import answers
from edge_agent.media.folder import Folder
from edge_agent.media.mounts import Space
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_LOOK_S = 30.0


class DiskSpace:
    """Raises and clears `disk_low`. For one thread."""

    def __init__(
        self,
        store: Store,
        activity: Activity,
        folder: Folder,
        *,
        space: Callable[[bytes | int], Space | None],
    ) -> None:
        self._store = store
        self._activity = activity
        self._folder = folder
        self._space = space
        self._due_s = 0.0
        self._is_low = False

    def look(self, settings: RetentionSettings, now_s: float) -> None:
        """Look if it is time to.

        Raises:
            StoreError: the event could not be written; it is tried again at the next call.
        """
        if now_s < self._due_s:
            return
        self._compare(settings)
        self._due_s = now_s + _LOOK_S

    def _ask(self) -> Space | None:
        path = os.fsencode(self._folder.path)
        with suppress(OSError):
            return answers.touch_configured(path, lambda: self._space(path))
        return None

    def _compare(self, settings: RetentionSettings) -> None:
        space = self._ask()
        if space is None or space.total == 0:
            return
        low = is_low(
            free=space.free,
            total=space.total,
            keep_free=settings.free_wanted(space.total) if settings.delete != "never" else 0,
            was_low=self._is_low,
        )
        # Said each time: what was said of a folder of this name on another card is over.
        self._activity.problem(ProblemCode.DISK_LOW, present=low, by=self._folder.worker)
        if low == self._is_low:
            return
        self._is_low = low
        data = {"watch": self._folder.name, "free": space.free, "total": space.total}
        self._store.outbox.tell(NewEvent("disk.low" if low else "disk.ok", data))
        if low:
            log.warning(
                "disk.low", watch=self._folder.name, free_bytes=space.free, total_bytes=space.total
            )
