"""Ready means that the database and the disk take a write, not that they answer."""

import errno
import threading

import pytest

from edge_host.clock import SystemClock
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.upkeep.readiness import PROBE_EVERY_S, Readiness


class Clock(SystemClock):
    def __init__(self) -> None:
        self.s = 0.0

    def now_s(self) -> float:
        return self.s


class Disk(FileBlobs):
    """A disk that can become read-only."""

    fault: int | None = None
    probes = 0

    def probe(self) -> None:
        self.probes += 1
        if self.fault is not None:
            raise OSError(self.fault, "no")
        super().probe()


@pytest.fixture
def parts(tmp_path):
    state, disk, clock = SqliteState.open(tmp_path / "state.db"), Disk(tmp_path), Clock()
    disk.prepare()
    yield Readiness(state, disk, clock), disk, clock, state
    state.close()
    disk.close()


def test_a_server_that_works_is_ready_and_leaves_no_trace(parts, tmp_path):
    readiness, *_, state = parts
    before = state.uptime_s()

    assert readiness.codes(0) == []

    assert list((tmp_path / "parts").iterdir()) == []
    assert state.uptime_s() == before


def test_a_disk_that_became_read_only_is_not_ready_though_it_has_room(parts):
    readiness, disk, *_ = parts
    disk.fault = errno.EROFS

    assert readiness.codes(0) == ["storage"]


@pytest.mark.parametrize("is_link", [False, True])
def test_without_the_folder_that_files_are_published_to_nothing_is_ready(parts, tmp_path, is_link):
    readiness, _, clock, _ = parts
    (tmp_path / "published").rename(tmp_path / "taken")
    if is_link:
        (tmp_path / "published").symlink_to(tmp_path / "taken")
    else:
        (tmp_path / "published").touch()

    assert readiness.codes(0) == ["storage"]

    (tmp_path / "published").unlink()
    clock.s += PROBE_EVERY_S
    assert readiness.codes(0) == []
    assert (tmp_path / "published").is_dir()


def test_a_full_disk_says_so(parts):
    readiness, disk, *_ = parts
    disk.fault = errno.ENOSPC

    assert readiness.codes(0) == ["disk-full"]
    assert readiness.codes(2**62) == ["disk-full"]


def test_the_disk_is_written_to_at_most_each_ten_seconds(parts):
    readiness, disk, clock, *_ = parts
    readiness.codes(0)
    disk.fault = errno.EIO

    clock.s = PROBE_EVERY_S - 1
    assert readiness.codes(0) == []
    clock.s = PROBE_EVERY_S
    assert readiness.codes(0) == ["storage"]
    assert disk.probes == 2


def test_a_database_that_takes_no_write_in_time_is_not_ready(parts):
    readiness, _, _, state = parts
    release = threading.Event()
    state.submit(lambda _: release.wait(10))

    late = readiness.database_writes(0.05)
    release.set()

    assert not late
    assert readiness.database_writes(5.0)


def test_a_stopped_database_is_not_ready(parts):
    readiness, _, _, state = parts
    state.close()

    assert readiness.codes(0) == ["database"]
