"""Two servers that tell one target: the one that leads does, and the next goes on where it stopped."""

from contextlib import ExitStack
from typing import Any

import pytest

from edge_host.clock import SystemClock
from ingest_server.core import events
from ingest_server.core.choosing import Wanted
from ingest_server.core.uptime import Uptime
from ingest_server.notify.deliveries import Deliveries, DeliveryWorker, Outcome, Told
from ingest_server.storage.memory.state import MemoryState
from tests.support.processes import wait_for
from tests.support.switched_lead import SwitchedLead

COUNT = 40


class Target:
    name = "target"
    wanted = (Wanted(events.TYPES),)

    def __init__(self, told):
        self._told = told

    def tell(self, event):
        self._told.append((event.subject, event.data["number"]))
        return Told(Outcome.DONE)


def server(state, told, lead):
    clock = SystemClock()
    worker = DeliveryWorker(
        Target(told), state.outbox, clock, Uptime(clock.now_s, 0.0), draw=lambda: 0.5
    )
    return Deliveries(state.outbox, [worker], lead)


def happen(state, numbers):
    def job(transaction):
        for number in numbers:
            kind, device = events.DEVICE_SILENT, f"cam-{number % 3}"
            transaction.tell_of_device(kind, device, {"number": number})

    state.run(job)


@pytest.mark.slow
def test_each_event_is_told_once_and_in_order_whoever_leads():
    state = MemoryState()
    told: tuple[list[Any], list[Any]] = ([], [])
    leads = [SwitchedLead(), SwitchedLead()]
    with ExitStack() as running:
        for one, lead in zip(told, leads, strict=True):
            made = server(state, one, lead)
            made.start()
            running.callback(made.stop)
        happen(state, range(COUNT))
        leads[0].give()
        wait_for(lambda: len(told[0]) == COUNT, "the first tells them")
        leads[0].take()
        leads[1].give()
        happen(state, range(COUNT, 2 * COUNT))
        wait_for(lambda: len(told[1]) == COUNT, "the other goes on")

    assert [number for _, number in (*told[0], *told[1])] == list(range(2 * COUNT))
    state.close()


def test_a_server_that_does_not_lead_tells_nobody_and_loses_no_target_of_the_leader():
    state = MemoryState()
    told: tuple[list[Any], list[Any]] = ([], [])
    leads = [SwitchedLead(), SwitchedLead()]
    leads[0].give()
    with ExitStack() as running:
        first = server(state, told[0], leads[0])
        first.start()
        running.callback(first.stop)
        stranger = Deliveries(state.outbox, [], leads[1])
        stranger.start()
        running.callback(stranger.stop)
        happen(state, range(3))
        wait_for(lambda: len(told[0]) == 3, "the leader tells them")

    assert told[1] == []
    state.close()
