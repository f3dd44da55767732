"""One lane at a time decides; while it sends or reads, the others may."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from edge_agent.base.patience import gives_way


class LaneLock:
    """A lock that is given up, not only at the end, but for as long as a lane is busy outside.

    What lanes share is touched with the lock held. A request takes seconds and holds nothing: it runs
    in `opened`, and whoever comes back must expect that others have been here. So must whoever touches a
    file: where that does not answer at once, the lock is given up meanwhile.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_up()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let the others in meanwhile; the caller holds the lock before and after."""
        self._give_up()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        self._lock.acquire()
        gives_way(self.opened)

    def _give_up(self) -> None:
        gives_way(None)
        self._lock.release()
