"""Settings that are wanted of this device for good, and what became of them: ``desired``, ``reported``.

A document has a version; one that is not above the last is passed over, so that what a broker keeps and
what the server repeats changes nothing twice. What may be set, and is what it must be, holds; of each
other setting ``reported`` says why it does not. All of one document is written in one transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.core.command import SETTINGS, Allowance, UnfitError, parse, read_one
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_DESIRED = "desired"
_HIGHEST_VERSION = 2**53 - 1
"""The greatest whole number that all who read JSON agree on."""
_MOST_ERRORS = 20
_MOST, _PER_S = 10, 60.0
"""Documents that are written in a minute; of more than that the newest counts."""


class WantedSettings:
    """Safe to use from several threads.

    Args:
        settable: the names that may be set here.
        interval_s: how often the agent tells its state where nobody wants otherwise.
        on_applied: called when settings hold that did not before; the store has them.
    """

    def __init__(
        self,
        store: Store,
        settable: tuple[str, ...],
        *,
        clock: Clock,
        interval_s: float,
        on_applied: Callable[[], None],
    ) -> None:
        self._store = store
        self.settable = settable
        self._clock = clock
        self._interval_s = interval_s
        self._on_applied = on_applied
        self._lock = threading.Lock()
        self._allowance = Allowance(_MOST, _PER_S)
        self._held: tuple[int, bytes] | None = None
        """The newest that came while none could be written, with its version; the next look takes it."""
        self._last: dict[str, Any] | None = None

    def desire(self, raw: bytes) -> bool:
        """Take a document; return whether `reported` has changed by it."""
        document = parse(raw)
        version = None if document is None else document.get("version")
        is_version = isinstance(version, int) and not isinstance(version, bool)
        if document is None or document.get("v") != 1 or not is_version:
            log.warning("settings.refused", detail='no JSON object with "v": 1 and a version')
            return False
        if not 0 < document["version"] <= _HIGHEST_VERSION:
            log.warning("settings.refused", detail=f"version must be 1 to {_HIGHEST_VERSION}")
            return False
        with self._lock:
            try:
                return self._settle(document, raw)
            except StoreError as error:
                self._hold(document["version"], raw)
                log.warning("settings.unwritten", error=str(error), action="tried again soon")
                return False

    def look(self) -> bool:
        """Take what could not be taken when it came; return whether `reported` has changed by it."""
        with self._lock:
            held, self._held = self._held, None
        return held is not None and self.desire(held[1])

    def _hold(self, version: int, raw: bytes) -> None:
        """Keep *raw* for the next look, unless a newer one is kept: two ways bring them in any order."""
        if self._held is None or version > self._held[0]:
            self._held = version, raw

    def reported(self) -> dict[str, Any] | None:
        """Return the document of what holds; None: nobody ever wanted anything."""
        try:
            noted = self._store.notes.get(_DESIRED)
            self._last = None if noted is None else {"v": 1, **noted, "settings": self.current()}
        except StoreError as error:
            log.warning("settings.unread", error=str(error), action="the last known ones are told")
        return self._last

    def current(self) -> dict[str, Any]:
        """Return each setting as it is now.

        Raises:
            StoreError: they cannot be read.
        """
        orders = self._store.orders
        return {
            "paused": orders.paused() is not None,
            "limit_bytes_per_s": orders.limit(),
            "telemetry_interval_s": orders.interval_s() or round(self._interval_s),
        }

    def _settle(self, document: dict[str, Any], raw: bytes) -> bool:
        noted = self._store.notes.get(_DESIRED) or {"version": 0}
        if document["version"] <= noted["version"]:
            return False
        if not self._allowance.take(self._clock.now_s()):
            self._hold(document["version"], raw)
            return False
        good, errors = self._read(document.get("settings"))
        errors |= {name: "it belongs into settings" for name in SETTINGS if name in document}
        status = "applied" if not errors else "partly" if good else "rejected"
        answer = {"version": document["version"], "status": status, "errors": errors}
        self._store.orders.settle(good, {_DESIRED: answer})
        log.info("settings.wanted", version=document["version"], status=status, errors=errors)
        if good:
            self._on_applied()
        return True

    def _read(self, settings: object) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the settings that may hold, and of the others why not."""
        if not isinstance(settings, dict):
            return {}, {"settings": "settings must be an object"}
        good: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for name, value in settings.items():
            if name not in SETTINGS:
                why = f"no such setting; there are {', '.join(SETTINGS)}"
            elif name not in self.settable:
                why = "the owner of this device does not allow it: [commands] settings"
            else:
                try:
                    good[name] = read_one(SETTINGS[name], name, value)
                    continue
                except UnfitError as error:
                    why = str(error)
            if len(errors) < _MOST_ERRORS:
                errors[name[:64]] = why
        return good, errors
