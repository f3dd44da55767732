"""What one recording costs the device's card: each durable commit is two flushes and some 31 KB."""

from collections import Counter

import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.base.state_lock import DATABASE
from edge_agent.core.upload import State
from edge_agent.store.recordings import Store
from tests.support.commits import commits_in_log
from tests.support.processes import wait_for
from tests.support.site import Site, site

pytestmark = pytest.mark.slow

SILENT = {"enabled": False}
"""Reports: one that brings events makes a commit of its own, for however many recordings they are of."""


def states(here: Site) -> Counter[State]:
    store = Store.open_read_only(here.agent.state_dir / DATABASE, clock=SystemClock(), boot_id="")
    try:
        return Counter({state: files for state, (files, _) in store.counts.by_state().items()})
    finally:
        store.close()


def commits_of_one_small_file(here: Site, end: State) -> int:
    """Put one file into the folder of an agent that has nothing to do, and wait until it is *end*."""
    here.agent.start()
    wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it has nothing to do")
    before = commits_in_log(here.agent.state_dir / DATABASE)
    made = here.agent.folder / "small.mp4"
    made.write_bytes(bytes(10_000))
    made.rename(here.agent.media / made.name)
    wait_for(lambda: states(here) == {end: 1}, f"the recording is {end}")
    return commits_in_log(here.agent.state_dir / DATABASE) - before


def test_a_recording_that_is_kept_costs_six_commits(tmp_path):
    with site(tmp_path, retention={"delete": "never"}, reports=SILENT) as here:
        assert commits_of_one_small_file(here, State.KEPT) == 6


def test_a_recording_that_is_deleted_costs_seven_commits(tmp_path):
    with site(tmp_path, retention={"delete": "after_verified"}, reports=SILENT) as here:
        assert commits_of_one_small_file(here, State.RELEASED) == 7
