"""Says in the log why the database cannot be used, once for each reason, and when that is over."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import structlog

from ingest_server.storage.postgres import failures

QUIET_S = 10.0
"""Without any trouble, it is over: where connections are too few, some requests get one and some do not."""

log = structlog.get_logger()


class Troubles:
    """Of one database; told of from any thread."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """*now_s*: a clock that never goes back."""
        self._now_s = now_s
        self._said: set[str] = set()
        self._noted_s = 0.0
        self._lock = threading.Lock()

    def note(self, error: psycopg.Error) -> None:
        """Note that *error* is why a request is refused."""
        why = error.sqlstate or failures.first_line(error)
        with self._lock:
            self._noted_s = self._now_s()
            is_news = why not in self._said
            self._said.add(why)
        if is_news:
            log.warning("database.away", error=failures.meaning(error))

    def over(self) -> None:
        """Note that the database has done what was asked."""
        if not self._said or self._now_s() - self._noted_s < QUIET_S:
            return
        with self._lock:
            was, self._said = self._said, set()
        if was:
            log.info("database.back")
