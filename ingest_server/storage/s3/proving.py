"""Which places that rules lead to can be used now.

A place of a rule that cannot be used when the server starts keeps nobody else from being served. Nothing is put
there before it has been looked at, as at a start: whoever wants to use it tries, one at a time.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from threading import Lock

import structlog

from edge_host.clock import SystemClock
from ingest_server.core.errors import WHAT_AWAY_MEANS, AwayError, StorageError
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.mark import KIND, ROUTED

RETRY_S = 5.0
"""Between two looks at a place that could not be used; those who want to use it meanwhile are told at once."""

log = structlog.get_logger()


class Proving:
    """Looks at them, and knows what was seen; used from any thread.

    Args:
        own: the server's own place.
        named: the places that the rules lead to now.
        place: returns a place by its name.
        used: returns the places where the database knows of uploads.
    """

    def __init__(
        self,
        own: S3Blobs,
        named: Sequence[str],
        *,
        place: Callable[[str], S3Blobs],
        used: Callable[[], set[str]],
    ) -> None:
        self._own = own
        self._named = tuple(named)
        self._place = place
        self._used = used
        self._now_s = SystemClock().now_s
        self._unproved: set[str] = set()
        """Places that could not be looked at yet."""
        self._away: dict[str, str] = {}
        """Why each of those that cannot be used now cannot."""
        self._tried_s: dict[str, float] = {}
        self._lock = Lock()

    def prove(self) -> None:
        """Look at each place of the rules, which is this server's from then on; after `S3Blobs.identify`.

        Raises:
            StorageError: one is another server's, or has lost what was in it.
        """
        for name in self._named:
            try:
                self._prove(name)
            except OSError as error:
                self._unproved.add(name)
                self._note_away(name, error)

    def _prove(self, name: str) -> None:
        place, own = self._place(name), self._own.mark.id
        if own is None:
            raise AwayError(errno.EBUSY, "the server's own place was not looked at", name)
        is_used = name in self._used()  # asked before another replica adds to it
        place.try_use()
        if is_used and not place.is_begun():
            raise StorageError(
                f"{name} is empty, but the database knows of uploads there. Nothing was changed. Bring back "
                "what was in the bucket. If it is lost, let no [[route]] lead there: all other uploads go on"
            )
        refuse_anothers(name, place.mark.routed_from(own), {"id": own})

    def require(self, name: str) -> None:
        """Look at a place that could not be looked at yet, unless somebody has just done so.

        One that was looked at before and is away now is not tried: a request to a bucket that hangs would
        hold a thread for half a minute, and there may be many. `look_around` finds out when it is back.

        Raises:
            AwayError: it cannot be used.
        """
        if name not in self._unproved:
            why = self._away.get(name)
            if why is not None:
                raise AwayError(errno.EBUSY, why, name)
            return
        with self._lock:
            now_s = self._now_s()
            is_due = now_s - self._tried_s.get(name, float("-inf")) >= RETRY_S
            if is_due:
                self._tried_s[name] = now_s
            why = self._away.get(name, "")
        if is_due:
            try:
                self._prove(name)
            except (OSError, StorageError) as error:
                why = self._note_away(name, error)
            else:
                with self._lock:
                    self._unproved.discard(name)
                self._note_back(name)
                return
        raise AwayError(errno.EBUSY, why, name)

    def look_around(self) -> None:
        """Find out which places of the rules can be used now."""
        for name in self._named:
            try:
                if name in self._unproved:
                    self.require(name)
                self._place(name).mark.check(self._own.mark.id)
            except OSError as error:
                if name not in self._unproved:  # else it was said by whoever tried
                    self._note_away(name, error)
            else:
                self._note_back(name)

    def away(self) -> list[str]:
        """Return one sentence for each place of a rule that cannot be used now."""
        with self._lock:
            return [f"{name}: {why}" for name, why in self._away.items()]

    def _note_away(self, name: str, error: Exception) -> str:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        with self._lock:
            is_news = self._away.get(name) != why
            self._away[name] = why
        if is_news:
            log.warning("route.away", place=name, error=f"{why}. {WHAT_AWAY_MEANS}")
        return why

    def _note_back(self, name: str) -> None:
        with self._lock:
            was_away = self._away.pop(name, None) is not None
        if was_away:
            log.info("route.back", place=name)


def refuse_anothers(
    name: str, there: Mapping[str, str] | None, own: Mapping[str, str] | None
) -> None:
    """Refuse a place of a rule that another server has.

    Args:
        name: what it is called.
        there: what is said of it; None: nobody has it.
        own: what is said of this server's own place, likewise.

    Raises:
        StorageError: it is another's.
    """
    if there is not None and (
        there.get(KIND) != ROUTED or there.get("id") != (own or {}).get("id")
    ):
        raise StorageError(
            f"{name} is in use by another server, whose uploads this one would take for lost: name another "
            "prefix in [[route]]"
        )
