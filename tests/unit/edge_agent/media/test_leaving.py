"""What is under hidden names, and what it will free."""

import pytest

from edge_agent.core.recording import Identity
from edge_agent.media.leaving import LeavingFiles
from edge_agent.media.removal import Aside
from edge_agent.store.recordings import Store
from tests.support.clock import VirtualClock


@pytest.fixture
def leaving(tmp_path):
    store = Store.open(tmp_path / "agent.db", clock=VirtualClock(), boot_id="boot")
    yield LeavingFiles(store)
    store.close()


def aside(device: int, length: int) -> Aside:
    return Aside(b"/m/a", b"/m/.a", Identity(device, 1, length, mtime_ns=2, ctime_ns=3))


def test_what_leaves_is_as_good_as_free_on_its_own_file_system_only(leaving):
    leaving.add("a", aside(device=1, length=10), due_s=5.0)
    leaving.add("b", aside(device=1, length=4), due_s=3.0)
    leaving.add("c", aside(device=2, length=100), due_s=9.0)

    assert (leaving.bytes_on(1), leaving.bytes_on(2), leaving.bytes_on(3)) == (14, 100, 0)


def test_the_one_that_is_due_goes_and_the_others_wait_for_their_time(leaving):
    leaving.add("a", aside(device=1, length=10), due_s=5.0)
    leaving.add("b", aside(device=1, length=4), due_s=3.0)

    assert leaving.take_due(2.0) is None
    assert leaving.next_due_s() == 3.0
    assert leaving.take_due(3.0) == (None, aside(device=1, length=4))
    assert ("a" in leaving, "b" in leaving, leaving.next_due_s()) == (True, False, 5.0)
    assert leaving.take_due(5.0) == (None, aside(device=1, length=10))
    assert leaving.next_due_s() is None
