"""A hundred thousand recordings wait: the next one is found by the index, and nothing piles up."""

import sqlite3
import time
import tracemalloc

import pytest

from edge_agent.core.recording import Found, Identity
from edge_agent.core.upload import State
from tests.support.lane import scene

MANY = 100_000


@pytest.mark.slow
def test_the_next_of_a_hundred_thousand_is_found_at_once_and_memory_does_not_grow(tmp_path):
    with scene(tmp_path) as stage:
        store = stage.lane.store
        first = stage.lane.record("first.mp4", b"x" * 1000)
        found = Found(b"/nowhere/a.mp4", "", "a.mp4", Identity(1, 2, 3, 4, 5), "watch")
        store.add([found] * MANY)
        with sqlite3.connect(stage.lane.base / "agent.db") as beside:
            beside.execute("UPDATE recording SET state = 'stable' WHERE state = 'seen'")

        tracemalloc.start()
        began_s = time.process_time()
        stage.lane.run(until=lambda: stage.lane.now(first).state is State.VERIFIED)
        took_s = time.process_time() - began_s
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert took_s < 2.0, "each step looked at the whole queue"
        assert peak < 8 * 1024 * 1024
