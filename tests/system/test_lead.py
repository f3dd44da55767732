"""Processes over one database: one of them leads, whatever befalls it."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.postgres import postgres
from tests.support.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]
LEADS_S = 2.0


class Server:
    def __init__(self, url):
        command = [sys.executable, "-m", "tests.support.leader", url, str(LEADS_S)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def write(self, line):
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def read(self):
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def act(self):
        """Have it act once, if it leads; return the term."""
        self.write("")
        term = self.read()["term"]
        if term is not None:
            assert self.read() == {"written": term}
        return term

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def url():
    with postgres() as server:
        yield server.database()


@pytest.fixture
def two(url):
    servers = [Server(url)]
    try:
        assert servers[0].act() == 1
        servers.append(Server(url))
        yield servers
    finally:
        for one in servers:
            one.close()


def test_one_leads_and_the_other_follows_when_it_is_killed(two, url):
    leader, follower = two
    assert (leader.act(), follower.act(), leader.act()) == (1, None, 1)
    leader.process.kill()
    wait_for(follower.act, "the other one leads")

    assert follower.act() == 2
    with closing(PostgresState.open(url)) as state:
        assert sorted(state.notes("upload")) == ["1", "2"]


def test_a_leader_that_was_stopped_commits_nothing_once_another_leads(two, url):
    leader, follower = two
    leader.write("wait")
    assert leader.read() == {"term": 1}
    os.kill(leader.process.pid, signal.SIGSTOP)
    wait_for(follower.act, "the other one leads")
    os.kill(leader.process.pid, signal.SIGCONT)
    leader.write("go on")
    found = leader.read()

    assert found["refused"].startswith("server-busy: another server leads by now")
    assert not found["holds"]
    assert leader.act() is None
    with closing(PostgresState.open(url)) as state:
        written = state.notes("upload")
    assert written["1"] != written["2"], (
        "by the one that led before it was stopped, and by the other"
    )


def test_who_leads_hands_over_at_once_and_the_term_counts_up(url):
    with closing(PostgresState.open(url)) as state:
        first = [state.lead("one", 3600), state.lead("other", 3600), state.lead("one", 3600)]
        state.resign("other")
        state.resign("one")

        assert first == [1, None, 1]
        assert [state.lead("other", 3600), state.lead("one", 3600)] == [2, None]


def test_a_clock_that_is_put_back_leaves_nobody_without_a_leader(url):
    with closing(PostgresState.open(url)) as state:
        assert state.lead("one", 10) == 1
        state.run(lambda found: found.write("UPDATE leases SET until = until + interval '1 day'"))

        assert state.lead("other", 10) == 2


def test_a_clock_that_is_put_back_leaves_no_upload_to_a_server_that_is_gone(url):
    with closing(PostgresState.open(url)) as state:
        gone = state.take_lease("finish", 10)
        assert gone is not None
        state.run(lambda found: found.write("UPDATE leases SET until = until + interval '1 day'"))

        assert state.take_lease("finish", 10) is not None
        assert not state.run(lambda found: found.is_leased(gone))
