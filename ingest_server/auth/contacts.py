"""When each device was last here, and what its program calls itself: what an operator asks first.

Whoever is admitted counts, whatever it asks for. Written at most once in a few minutes, along with what is
committed anyway; what is lost of it at a crash comes again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from edge_host.clock import Clock, rfc3339
from ingest_server.core.errors import Refused
from ingest_server.storage.interface import StateStore

EVERY = timedelta(minutes=2)
MOST_CHARACTERS = 80
"""Of a program's name for itself."""
MOST_DEVICES = 10_000
"""Known at once; one more begins anew, which costs each of them one more row written."""

log = structlog.get_logger()


class Contacts:
    """Notes who was here."""

    def __init__(self, state: StateStore, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._noted: dict[str, tuple[datetime, str]] = {}

    def note(self, device: str, program: str | None) -> None:
        """Note that *device* was admitted; never raises, and waits for nothing.

        Args:
            program: its User-Agent, as it came.
        """
        now = self._clock.now_utc()
        name = _readable(program or "")
        noted = self._noted.get(device)
        if noted is not None and abs(now - noted[0]) < EVERY and noted[1] == name:
            return
        if len(self._noted) >= MOST_DEVICES:
            self._noted.clear()
        self._noted[device] = (now, name)
        at = rfc3339(now)
        try:
            self._state.submit_along(lambda rows: rows.note_contact(device, at, name))
        except Refused as refused:
            log.warning("contact.not_noted", device_id=device, error=str(refused))


def _readable(program: str) -> str:
    shown = program[: 2 * MOST_CHARACTERS].encode("ascii", "replace").decode()
    return "".join(one for one in shown if one.isprintable())[:MOST_CHARACTERS]
