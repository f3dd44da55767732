"""What the fleet does by itself: looks who fell silent, and writes down what was said."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from ingest_server.base.lead import SOLE, Lead
from ingest_server.core.errors import Refused
from ingest_server.fleet import uploaders
from ingest_server.fleet.history import KEPT_RUNS
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.standing import WRITE_S
from ingest_server.fleet.told import READ_S
from ingest_server.storage.interface import DeviceSummary

log = structlog.get_logger()

LOOK_S = 1.0
"""How late it is seen that a device is late."""
ADOPT_S = 2.0
"""How late a command of `ingest-server fetch` is seen."""
MINUTE_S = 60.0
UPLOADERS_S = 60.0
GROUPS_S = 60.0
THIN_OUT_S = 3600.0


class FleetWorker:
    """Steps that are due, and the thread that takes them.

    Args:
        known: who is known to the store of facts; read now and then.
        steps: what else is to be done every minute (notifications), by the leader alone.
        often: and every second (a broker, a comparison).
        read: and what is read from the database for whoever looks.
        lead: of the servers that share the store.
    """

    def __init__(
        self,
        fleet: FleetService,
        known: Callable[[], list[DeviceSummary]] = list,
        steps: tuple[Callable[[], None], ...] = (),
        often: tuple[Callable[[], None], ...] = (),
        *,
        read: Callable[[], None] = lambda: None,
        lead: Lead = SOLE,
    ) -> None:
        self._lead = lead
        self._of_leader = {self._thin_out, *steps}
        self._fleet = fleet
        self._known = known
        now_s = fleet.clock.now_s()
        self._due: dict[Callable[[], object], tuple[float, float]] = {
            fleet.tick: (now_s + LOOK_S, LOOK_S),
            fleet.write_if_due: (now_s + LOOK_S, LOOK_S),
            fleet.adopt: (now_s + ADOPT_S, ADOPT_S),
            self._join: (now_s, UPLOADERS_S),
            fleet.rules.refresh: (now_s, GROUPS_S),
            self._follow: (now_s + LOOK_S, LOOK_S),
            fleet.write: (now_s + WRITE_S, WRITE_S),
            fleet.note_minute: (now_s + MINUTE_S, MINUTE_S),
            self._thin_out: (now_s + THIN_OUT_S, THIN_OUT_S),
            read: (now_s, READ_S),
            **dict.fromkeys(steps, (now_s + MINUTE_S, MINUTE_S)),
            **dict.fromkeys(often, (now_s + LOOK_S, LOOK_S)),
        }
        self._failing: set[Callable[[], object]] = set()
        """What a database refused the last time."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and write what it has not written."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._fleet.write()

    def step(self, now_s: float) -> float:
        """Do what is due; returns the seconds until the next."""
        for work, (due_s, every_s) in self._due.items():
            if due_s <= now_s:
                self._due[work] = (max(due_s + every_s, now_s + every_s / 2), every_s)
                self._do(work)
        return max(0.0, min(due_s for due_s, _ in self._due.values()) - now_s)

    def _do(self, work: Callable[[], object]) -> None:
        try:
            if work not in self._of_leader:
                work()
            else:
                with self._lead.acting() as term:
                    if term is not None:
                        work()
            self._failing.discard(work)
        except Refused as refused:
            if (
                work not in self._failing
            ):  # said once, and not every second that the database is away
                log.warning("fleet.step_failed", error=str(refused))
            self._failing.add(work)
        except Exception as error:
            # The page may be wrong for a while; a fleet that is not looked at any more would be for ever.
            log.exception("fleet.step_failed", error=type(error).__name__)

    def _follow(self) -> None:
        if self._fleet.sharing is not None:
            self._fleet.sharing.follow()

    def _join(self) -> None:
        uploaders.join(self._fleet, self._known())

    def _thin_out(self) -> None:
        now_s = int(self._fleet.clock.now_utc().timestamp())
        for step_s, runs in KEPT_RUNS.items():
            self._fleet.store.thin_out(step_s, runs, now_s)

    def _run(self) -> None:
        while not self._stop.wait(self.step(self._fleet.clock.now_s())):
            pass
