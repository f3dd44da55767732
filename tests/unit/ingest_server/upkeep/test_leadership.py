"""Who leads, by a database that may be away."""

import threading

from structlog.testing import capture_logs

from ingest_server.core.errors import StateFailed
from ingest_server.storage.memory.state import MemoryState
from ingest_server.upkeep.leadership import Leadership


class Away(MemoryState):
    """It refuses some times, answers once, and refuses again."""

    def __init__(self):
        super().__init__()
        self.asked = 0
        self.is_enough = threading.Event()

    def lead(self, name, for_s):
        self.asked += 1
        if self.asked == 10:
            self.is_enough.set()
        if self.asked != 5:
            raise StateFailed("server-busy", "the database does not answer")
        return 1


def test_a_database_that_is_away_is_told_of_once_each_time():
    state = Away()
    lead = Leadership(state, lambda: 0.0, leads_s=0.01)

    with capture_logs() as logs:
        lead.start()
        assert state.is_enough.wait(20)
        lead.stop()

    told = [one["error"] for one in logs if one["event"] == "lead.not_asked"]
    assert len(told) == 2
    assert told[0].endswith("until it answers, no webhook is told from here and no upload expires")
    state.close()
