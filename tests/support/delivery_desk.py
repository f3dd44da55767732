"""A worker that tells a target, stepped by a test."""

from __future__ import annotations

from pathlib import Path

from ingest_server.core import events
from ingest_server.core.choosing import Wanted
from ingest_server.core.events import Event
from ingest_server.notify.deliveries import DeliveryWorker, Outcome, Target, Told
from tests.support.core_site import CoreSite


class Desk:
    """A worker that a test steps, over a real database and a clock by hand."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.site = CoreSite(folder)
        self.outbox = self.site.state.outbox
        self.outbox.register(target.name)
        self.worker = DeliveryWorker(
            target, self.outbox, self.site.clock, self.site.store.uptime, draw=lambda: 0.5
        )

    def settle(self, steps: int = 30) -> None:
        for _ in range(steps):
            if self.worker.step() > 0:
                return
        raise AssertionError("it never comes to rest")


class Fake:
    name = "fake"
    wanted = (Wanted(events.TYPES),)

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.retry_after_s: float | None = None
        self.told: list[Event] = []

    def tell(self, event: Event) -> Told:
        self.told.append(event)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome.DONE
        return Told(outcome, "because", self.retry_after_s)
