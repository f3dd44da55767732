from dataclasses import replace
from typing import Any

import pytest

from ingest_server.storage.interface import RecordingQuery
from ingest_server.storage.sql import recordings
from ingest_server.storage.sql.dialect import SQLITE
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.contract.storage.test_recordings import ids, recorded
from tests.support.state_rows import insert


@pytest.fixture
def state(tmp_path):
    found = SqliteState.open(tmp_path / "state.db")
    yield found
    found.close()


def test_a_name_that_is_rare_is_found_a_piece_of_the_list_at_a_time(state):
    insert(state, recorded(1, "2026-11-21T10:00:00Z", name="rare"))
    insert(state, *(recorded(number, "2026-11-22T10:00:00Z") for number in range(2, 12)))
    wanted = RecordingQuery(name="RARE")
    pages: list[Any] = []
    while not pages or pages[-1].next is not None:
        after = pages[-1].next if pages else None
        pages.append(recordings.page(state.rows, SQLITE, replace(wanted, after=after), looked_at=4))

    assert [ids(page) for page in pages] == [[], [], [1]]


@pytest.mark.parametrize("wanted", [{}, {"device": "cam"}, {"since": "2026"}, {"until": "2027"}])
def test_no_list_is_sorted_or_read_as_a_whole(state, wanted):
    insert(state, *(recorded(number, "2026-11-22T10:00:00Z") for number in range(1, 9)))
    plans: list[Any] = []

    def explained(sql, *values):
        plans.extend(row[3] for row in state.rows(f"EXPLAIN QUERY PLAN {sql}", *values))
        return state.rows(sql, *values)

    after = ("2026-11-22T10:00:00Z", "0" * 31 + "5")
    recordings.page(explained, SQLITE, RecordingQuery(name="a", after=after, limit=2, **wanted))

    walks = [one for one in plans if "recordings" in one]
    assert walks
    assert all(one.startswith("SEARCH") and "COVERING INDEX" in one for one in walks)
    assert sum("TEMP B-TREE" in one for one in plans) <= 1  # what is shown, not what is looked at
