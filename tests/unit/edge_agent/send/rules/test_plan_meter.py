"""What is sent on a data plan: counted through restarts, power cuts and full disks, with few writes."""

from datetime import date

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.core.data_plan import DataPlan
from edge_agent.send.rules.plan_meter import PlanMeter
from edge_agent.store.recordings import Store
from tests.support.clock import VirtualClock

TODAY = date(2026, 11, 29)
PLAN, OTHER = DataPlan("sim", 1_000_000_000), DataPlan("spare", 1000)
STEP = 4 * 2**20


@pytest.fixture
def store(tmp_path):
    made = Store.open(tmp_path / "agent.db", clock=VirtualClock(), boot_id="boot")
    yield made
    made.close()


class Notes:
    """Those of a store, with their writes counted, on a disk that may be full."""

    def __init__(self, store):
        self._notes = store.notes
        self.writes = 0
        self.is_full = False

    def get(self, key):
        return self._notes.get(key)

    def put(self, key, value):
        if self.is_full:
            raise StoreError("the disk is full")
        self.writes += 1
        self._notes.put(key, value)


@pytest.fixture
def notes(store):
    return Notes(store)


def used(notes, plan=PLAN):
    """What a start after a power cut knows."""
    return PlanMeter(notes).use(plan, TODAY).used


def test_a_power_cut_counts_a_step_too_much_at_most_and_never_too_little(notes):
    meter = PlanMeter(notes)
    for sent in range(1, 41):
        meter.count(PLAN, TODAY, 2**20, sent)
        assert sent * 2**20 <= used(notes) <= sent * 2**20 + STEP

    assert meter.use(PLAN, TODAY).used == 40 * 2**20
    assert notes.writes <= 10


def test_once_nothing_is_sent_for_a_minute_and_at_the_end_it_is_exact(notes):
    meter = PlanMeter(notes)
    meter.count(PLAN, TODAY, 1000, 0.0)
    meter.settle(59.0)
    assert used(notes) > 1000
    meter.settle(60.0)
    assert used(notes) == 1000

    meter.count(PLAN, TODAY, 1, 61.0)
    meter.flush()
    assert used(notes) == 1001
    writes = notes.writes
    meter.flush()
    meter.settle(999.0)
    assert notes.writes == writes


def test_plans_are_counted_apart_and_one_that_is_written_leaves_the_others_ahead(notes):
    meter = PlanMeter(notes)
    meter.count(PLAN, TODAY, 1000, 0.0)
    meter.count(OTHER, TODAY, 10, 0.0)

    assert (meter.use(PLAN, TODAY).used, meter.use(OTHER, TODAY).used) == (1000, 10)
    assert used(notes) >= 1000
    assert used(notes, OTHER) >= 10
    meter.flush()
    assert (used(notes), used(notes, OTHER)) == (1000, 10)


def test_on_a_full_disk_it_counts_on_and_writes_when_there_is_room(notes):
    meter = PlanMeter(notes)
    notes.is_full = True
    meter.count(PLAN, TODAY, 1000, 0.0)
    assert meter.use(PLAN, TODAY).used == 1000

    notes.is_full = False
    meter.count(PLAN, TODAY, 1000, 2.0)

    assert used(notes) >= 2000


def test_what_is_written_down_wrongly_counts_as_nothing(store):
    store.notes.put("plans", ["sim"])
    assert used(store.notes) == 0
    store.notes.put("plans", {"sim": {"2026-11-01": "much"}})
    assert used(store.notes) == 0


def test_a_database_that_cannot_be_read_is_said_to_whoever_asks(store):
    store.close()

    with pytest.raises(StoreError):
        PlanMeter(store.notes).use(PLAN, TODAY)
