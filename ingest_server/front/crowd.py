"""How many connections may be open at once: each takes a descriptor, and so do the files of uploads.

At the limit idle connections are closed for new ones: who is between two requests comes again by itself. A
server without a descriptor left could neither open a file nor see that a connection has ended.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Callable

import structlog

KEPT_DESCRIPTORS = 128
"""For the database, the log, scrapes and downloads; beside two for each upload, its file and a folder."""
TOLD_EACH_S = 60.0

log = structlog.get_logger()


def most_connections(max_uploads: int) -> int | None:
    """Return how many connections may be open at once; None: any number."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return None
    # Of a limit that is low for so many uploads a quarter: most of them do not run at once.
    return limit - min(limit // 4, 2 * max_uploads + KEPT_DESCRIPTORS)


class Crowd:
    """Says when there are too many, and tells the operator now and then."""

    def __init__(self, max_uploads: int, now_s: Callable[[], float]) -> None:
        self._max_uploads = max_uploads
        self._now_s = now_s
        self._told_s = -math.inf

    def is_full(self, connections: int) -> bool:
        most = most_connections(self._max_uploads)
        if most is None or connections < most:
            return False
        if self._now_s() >= self._told_s + TOLD_EACH_S:
            self._told_s = self._now_s()
            log.warning(
                "server.crowded",
                connections=connections,
                error="as many connections are open as the limit of descriptors allows: idle ones "
                "are closed for new ones. Raise LimitNOFILE in the unit, or limit the connections "
                "of one address in a proxy",
            )
        return True
