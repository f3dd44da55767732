"""A log that is written on after it was sent, where the server's facts are in PostgreSQL, its files here or in S3."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

import pytest

from ingest_server.core.record import SUPERSEDES, State
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.s3.bucket import Bucket
from tests.support.counting_link import CountingLink
from tests.support.postgres import postgres
from tests.support.processes import DEVICE, Agent, Server, wait_for
from tests.support.recordings import MB
from tests.support.seaweed import seaweed

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(180)]

APPENDS = 10
LOG = os.urandom(12 * MB)
TAILS = [os.urandom(100_000 + number) for number in range(APPENDS)]
BESIDE = 40_000
"""What requests, and reports to the server, take beside each tail."""


class Site:
    """A device and a server over the engines that are named."""

    def __init__(self, folder, stack, *, in_s3):
        self.database = stack.enter_context(postgres()).database()
        storage = {"state": self.database}
        self._bucket = None
        if in_s3:
            store = stack.enter_context(seaweed())
            self._place = store.place()
            storage |= store.settings(self._place)
            self._bucket = stack.enter_context(closing(Bucket(self._place)))
        self.server = Server(folder / "server", storage=storage)
        stack.callback(self.server.close)
        self.server.start()
        token = self.server.run("token", "add", DEVICE).splitlines()[-1]
        self.link = stack.enter_context(CountingLink(self.server.port))
        self.agent = Agent(folder / "device", url=self.link.url, token=token)
        self.agent.configure(watch={"append": ["*.csv"]})
        stack.callback(self.agent.close)

    def append(self, data):
        """Write *data* to the end of the log, and wait until it is published and the device knows."""
        log = self.agent.media / "log.csv"
        with log.open("ab") as file:
            file.write(data)
        length = log.stat().st_size
        self.agent.run("upload", "--finished", str(log))
        wait_for(lambda: length in self.lengths(), f"{length} bytes are published", 60)
        wait_for(self._is_idle, "the device has the receipt")

    def _is_idle(self):
        state = self.agent.state_if_any()
        return state.get("queue", {}).get("files") == 0

    def lengths(self):
        return {one.length for one in self.published()}

    def published(self):
        """Return what the server's database knows of published files, the first to be published first."""
        with closing(PostgresState.open(self.database)) as state:
            found = state.in_states(State.COMPLETE)
        return sorted(found, key=lambda one: one.length)

    def content(self, receipt):
        if self._bucket is None:
            return (self.server.published / receipt.published_as).read_bytes()
        head = self._bucket.head(self._place.prefix + receipt.published_as)
        return self._bucket.get(head, 0, head.size)


@pytest.fixture(params=[False, True], ids=["files", "s3"])
def here(request, tmp_path):
    with ExitStack() as stack:
        yield Site(tmp_path, stack, in_s3=request.param)


def test_ten_times_written_on_costs_ten_tails_and_each_content_follows_the_one_before(here):
    here.agent.start()
    here.append(LOG)
    costs = []
    for tail in TAILS:
        before = here.link.sent
        here.append(tail)
        costs.append(here.link.sent - before - len(tail))
    found = [one.receipt for one in here.published()]
    names = [one.published_as for one in found]

    assert all(cost in range(BESIDE) for cost in costs), costs
    assert [here.content(one) for one in found] == [
        LOG + b"".join(TAILS[:count]) for count in range(APPENDS + 1)
    ]
    assert len(set(names)) == APPENDS + 1
    assert [one.metadata.get(SUPERSEDES) for one in here.published()] == [None, *names[:-1]]
