"""One question is one statement where its answer has to be of one moment."""

from ingest_server.core.record import State
from ingest_server.storage.sqlite.transactions import SqliteState


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
