"""Counters for life."""

from edge_agent.core.upload import Event
from edge_agent.store.notes import Totals
from tests.support.agent_store import found, open_store


def test_totals_count_verified_and_failed_recordings_for_life(path, store):
    good, bad = store.add([found(), found(inode=8)])
    for event in (
        Event.SETTLED,
        Event.UPLOAD_CREATED,
        Event.ALL_ACKNOWLEDGED,
        Event.RECEIPT_STORED,
    ):
        good = store.advance(good, event, verified_at="2026-11-21T00:00:00Z")
    store.advance(bad, Event.REJECTED, sent=4, resent=1)
    store.notes.count_sent(sent=6, resent=2)
    store.close()

    again = open_store(path)
    totals = again.notes.totals()
    assert (totals.files_verified, totals.files_failed) == (1, 1)
    assert (totals.bytes_sent, totals.bytes_resent) == (10, 3)
    again.close()


def test_a_counter_that_only_another_version_keeps_is_passed_over(store):
    store.notes.put("totals", {"files_verified": 2, "bytes_verified": 10, "moons": 1})

    assert store.notes.totals() == Totals(files_verified=2)
