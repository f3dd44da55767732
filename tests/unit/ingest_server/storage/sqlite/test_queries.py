"""One question is one statement where its answer has to be of one moment, and finds it by an index."""

from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.sqlite.transactions import SqliteState
from upload_protocol.digests import Digest


class Counted(SqliteState):
    asked = 0

    def rows(self, sql, *values):
        self.asked += 1
        return super().rows(sql, *values)


def test_an_upload_that_moves_between_two_states_cannot_be_missed_between_two_questions(tmp_path):
    state = Counted.open(tmp_path / "state.db")
    before = state.asked

    state.in_states(State.OPEN, State.VERIFYING, State.PUBLISHING)

    assert state.asked - before == 1
    state.close()


class Explained(SqliteState):
    """Notes how SQLite finds what it is asked for."""

    plans: tuple[str, ...] = ()

    def rows(self, sql, *values):
        plan = super().rows(f"EXPLAIN QUERY PLAN {sql}", *values)
        self.plans = (*self.plans, " ".join(str(one[-1]) for one in plan))
        return super().rows(sql, *values)


def test_what_a_device_has_published_is_found_without_a_look_at_all_of_one_length(tmp_path):
    state = Explained.open(tmp_path / "state.db")
    record = UploadRecord("0" * 32, "cam", "key", "a.mp4", "", "2026-11-21T10:00:00Z")

    before = len(state.plans)
    state.published(record, 5, Digest.of(b"hello"))
    [plan] = state.plans[before:]
    for which in ("name=? AND folder=?", "name=? AND folder<?", "name<?", "name>?"):
        assert f"uploads_by_digest (digest=? AND device=? AND {which})" in plan
    assert "B-TREE" not in plan, "in the order of the index: nothing is sorted"
    state.has_published("cam", 5)
    assert "uploads_by_length (device=? AND length=?)" in state.plans[-1]
    state.close()
