"""One leader among the servers over one store: a row in its database, good for a while by its clock.

A leader asks for it again long before that is over. One that was stopped and wakes up sees by its own clock that
its time is over; what it begins to commit is refused by the database, which knows the term of the next one.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from ingest_server.base.lead import Lead
from ingest_server.core.errors import Refused
from ingest_server.storage.interface import StateStore

LEADS_S = 10.0
"""How long nobody leads after a leader was killed, at most."""
_ASKS = 5
"""Times in that."""
_SOONER = 0.9
"""Of that: here a lead is over before it is by the database's clock, which may run faster."""

log = structlog.get_logger()


class Leadership(Lead):
    """Leads, or waits for the leader to end, in a thread of its own."""

    def __init__(
        self, state: StateStore, now_s: Callable[[], float], *, leads_s: float = LEADS_S
    ) -> None:
        self._state = state
        self._leads_s = leads_s
        self._now_s = now_s
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._term: int | None = None
        self._until_s = float("-inf")
        self._is_away = False
        """Whether the database did not answer the last time."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lead", daemon=True)

    def start(self) -> None:
        """Lead if nobody does; known on return, if the database answers."""
        self._ask()
        self._thread.start()

    def stop(self) -> None:
        """Let another one lead."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        with suppress(Refused):  # it is over by itself soon
            self._state.resign(self.name)
        self._term = None

    def holds(self) -> bool:
        return self._term is not None and self._now_s() < self._until_s

    @contextmanager
    def acting(self) -> Iterator[int | None]:
        term = self._term
        if term is None or not self.holds():
            yield None
            return
        with self._state.fenced(term):
            yield term

    def _run(self) -> None:
        while not self._stop.wait(self._leads_s / _ASKS):
            self._ask()

    def _ask(self) -> None:
        asked_s = self._now_s()
        try:
            term = self._state.lead(self.name, self._leads_s)
        except Refused as refused:
            if not self._is_away:  # said once, and not each time that it is asked
                log.warning(
                    "lead.not_asked",
                    error=f"{refused}: until it answers, no webhook is told from here and no upload expires",
                )
            self._is_away = True
            return
        self._is_away = False
        if term is not None:
            self._until_s = asked_s + _SOONER * self._leads_s
        if term != self._term:
            log.info("lead.ended" if term is None else "lead.begun", term=term or self._term)
            self._term = term
