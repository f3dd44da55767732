import threading

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.long_work import LongWork
from ingest_server.uploads.pending import Pending
from tests.support.core_site import InThread


class Held:
    """Work that ends when the test lets it."""

    def __init__(self, outcome: object = "done") -> None:
        self.go = threading.Event()
        self.runs = 0
        self._outcome = outcome

    def __call__(self) -> object:
        self.runs += 1
        assert self.go.wait(20)
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome


@pytest.fixture
def long_work():
    found = LongWork()
    yield found
    found.stop()


def test_who_asks_again_joins_what_runs_and_is_told_how_it_ended(long_work):
    work = Held()

    told = [long_work.join("cam", "a", "md5", work, 0.0) for _ in range(5)]
    work.go.set()

    assert told == [Pending(1.0)] * 5
    assert long_work.join("cam", "a", "md5", work, 20) == "done"
    assert work.runs == 1


def test_a_refusal_of_the_same_bytes_is_told_again_and_not_computed_again(long_work):
    work = Held(ValueError("not its checksum"))
    work.go.set()

    for _ in range(3):
        with pytest.raises(ValueError, match="not its checksum"):
            long_work.join("cam", "a", "md5", work, 20)

    assert work.runs == 1


def test_what_the_disk_refused_is_tried_again(long_work):
    work = Held(Refused("storage-failed", "the disk failed"))
    work.go.set()

    for _ in range(2):
        with pytest.raises(Refused, match="storage-failed"):
            long_work.join("cam", "a", "md5", work, 20)

    assert work.runs == 2


def test_another_work_on_the_upload_waits_for_the_first_and_that_of_another_device_does_not(
    long_work,
):
    work, other = Held(), Held("other")
    other.go.set()
    long_work.join("cam", "a", "md5", work, 0.0)

    with pytest.raises(Refused, match="server-busy"):
        long_work.join("cam", "a", "sha1", other, 20)
    assert long_work.join("other", "b", "sha1", other, 20) == "other"

    work.go.set()
    assert long_work.join("cam", "a", "md5", work, 20) == "done"
    assert long_work.join("cam", "a", "sha1", other, 20) == "other"


def test_after_the_stop_nothing_begins(long_work):
    long_work.stop()

    with pytest.raises(Refused, match="stopping"):
        long_work.join("cam", "a", "md5", Held(), 0.0)


class StopsMeanwhile(threading.Event):
    """Is set between the first look at it and the next."""

    def is_set(self) -> bool:
        was_set = super().is_set()
        self.set()
        return was_set


def test_what_is_begun_while_the_server_stops_ends_with_what_waited(long_work):
    running, waits = Held(), Held()
    long_work.join("cam", "a", "md5", running, 0.0)
    long_work.join("cam", "b", "md5", waits, 0.0)
    long_work._workers._closed = StopsMeanwhile()

    late = InThread(lambda: long_work.join("cam", "c", "md5", Held(), 0.0))

    with pytest.raises(Refused, match="stopping"):
        late.join(20)
    assert not long_work.is_at("b")
    assert long_work.is_at("a")
    running.go.set()
