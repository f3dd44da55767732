"""What an operator sees counted, and what an upload costs in bytes read."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.samples import Sample

from edge_host.clock import SystemClock
from ingest_server.core.errors import Refused
from ingest_server.notify.metrics import Metrics
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.upkeep.scrub import Report, Scrub
from tests.support.core_site import (
    BrokenBody,
    BytesBody,
    CoreSite,
    HangingBody,
    InThread,
    on_disk,
)
from tests.support.faulty_blobs import failing
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

MIB = 1024 * 1024
DATA = os.urandom(12 * MIB)


class Counted(CoreSite):
    """A site whose figures are those of the metrics page."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.metrics = Metrics(SystemClock(), "1")
        super().__init__(data_dir, observer=self.metrics, **settings)

    def figure(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"ingest_{name}", labels) or 0.0

    def samples(self, name: str) -> list[Sample]:
        return [
            sample
            for family in self.metrics.registry.collect()
            if family.name == f"ingest_{name}"
            for sample in family.samples
        ]


@pytest.fixture
def counted(tmp_path):
    site = Counted(tmp_path / "data")
    yield site
    site.stop()


def bytes_read() -> int:
    """Return what this process has asked files for so far, whatever cache gave it."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


@on_disk
def test_an_upload_is_hashed_as_it_comes_and_never_read_again(site):
    upload = site.create(length=len(DATA))
    before = bytes_read()

    for start in range(0, len(DATA), 4 * MIB):
        site.put(upload, start, DATA[start : start + 4 * MIB])
    site.complete(upload, DATA)

    assert bytes_read() - before < MIB


@on_disk
def test_bytes_that_came_out_of_order_are_read_again_and_no_third_time(site):
    upload = site.create(length=len(DATA))
    before = bytes_read()

    site.put(upload, 4 * MIB, DATA[4 * MIB :])
    site.put(upload, 0, DATA[: 4 * MIB])
    site.complete(upload, DATA)

    # Beside the background that follows, completing may read what it has not handed over yet.
    assert 8 * MIB <= bytes_read() - before < 17 * MIB


@on_disk
def test_a_repetition_of_what_is_stored_costs_one_look_at_it(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    before = bytes_read()

    site.put(upload, 0, DATA[: 4 * MIB])
    site.complete(upload, DATA)

    assert 4 * MIB <= bytes_read() - before < 5 * MIB


def test_each_upload_is_counted_where_it_ends(counted):
    counted.upload(b"abc", "a.mp4")
    aborted = counted.create("b.mp4")
    counted.receiver.abort("cam", aborted)
    counted.receiver.abort("cam", aborted)
    counted.create("c.mp4")
    counted.clock.seconds += 30 * 86400
    counted.receiver.expiry.sweep()

    assert counted.figure("uploads_created_total") == 3
    assert counted.figure("uploads_completed_total") == 1
    assert counted.figure("uploads_aborted_total") == 1
    assert counted.figure("uploads_expired_total") == 1
    assert counted.figure("received_bytes_total") == 3


def test_a_file_that_was_published_before_completes_its_upload_too(counted):
    counted.upload(b"abc", "a.mp4")
    unsent = counted.create("a.mp4", 3)
    sent = counted.create("a.mp4", 3)
    counted.put(sent, 0, b"abc")

    counted.complete(unsent, b"abc")
    counted.complete(sent, b"abc", digest=False)
    counted.complete(sent, b"abc", digest=False)

    assert counted.figure("uploads_created_total") == 3
    assert counted.figure("uploads_completed_total") == 3


def test_a_create_that_is_repeated_is_one_upload(counted):
    counted.create("a.mp4")
    before = counted.figure("uploads_created_total")
    with pytest.raises(Refused, match="invalid-name"):
        counted.create("")

    assert (before, counted.figure("uploads_created_total")) == (1, 1)


def test_bytes_are_counted_as_they_are_sealed_and_repeated_ones_as_both(counted):
    upload = counted.create(length=100)
    counted.put(upload, 0, b"x" * 60)

    counted.put(upload, 40, b"x" * 60)

    assert counted.figure("received_bytes_total") == 120
    assert counted.figure("discarded_bytes_total", reason="duplicate") == 20


@pytest.mark.parametrize(
    ("error", "reason"),
    [(None, "checksum"), (ConnectionResetError(), "incomplete"), (TimeoutError(), "incomplete")],
)
def test_bytes_with_a_digest_that_were_not_recorded_are_told_by_their_reason(
    counted, error, reason
):
    upload = counted.create(length=100)
    body = BytesBody(b"x" * 70) if error is None else BrokenBody(b"x" * 70, error)

    with pytest.raises(Refused):
        counted.put(
            upload, 10, b"", stop=80 if error is None else 90, body=body, digest=Digest.of(b"y")
        )

    assert counted.figure("discarded_bytes_total", reason=reason) == 70
    assert counted.figure("received_bytes_total") == 0
    assert counted.figure("checksum_failures_total", scope="chunk") == (error is None)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_bytes_that_the_disk_lost_are_told_so(counted, number):
    upload = counted.create(length=100)
    counted.put(upload, 0, b"x" * 10)
    counted.blobs.fail["sync"] = failing(OSError(number, "no"))

    with pytest.raises(Refused):
        counted.put(upload, 10, b"x" * 30)

    assert counted.figure("received_bytes_total") == 10
    # A full disk's errno is not the refusal's code yet where the bytes are given up.
    assert counted.figure("discarded_bytes_total", reason="storage") == 30


def test_bytes_of_a_request_that_was_taken_over_are_told_only_if_they_were_lost(counted):
    upload = counted.create(length=1000)
    held, kept = HangingBody(b"a" * 40), HangingBody(b"b" * 50)
    digest = Digest.of(b"a" * 100)
    with_digest = InThread(lambda: counted.put(upload, 0, b"", stop=100, body=held, digest=digest))
    without = InThread(lambda: counted.put(upload, 500, b"", stop=600, body=kept))
    assert held.silent.wait(10)
    assert kept.silent.wait(10)

    counted.put(upload, 0, b"c" * 1000)

    for request in (with_digest, without):
        with pytest.raises(Refused, match="superseded"):
            request.join()
    assert counted.figure("discarded_bytes_total", reason="conflict") == 40
    assert counted.figure("received_bytes_total") == 1050


def test_a_request_that_lost_nothing_makes_no_figure_of_lost_bytes(counted):
    upload = counted.create(length=1000)
    body = HangingBody(b"a" * 40)
    older = InThread(lambda: counted.put(upload, 0, b"", stop=100, body=body))
    assert body.silent.wait(10)
    counted.put(upload, 0, b"a" * 40 + b"c" * 60)
    with pytest.raises(Refused, match="superseded"):
        older.join()

    names = {sample.labels["reason"] for sample in counted.samples("discarded_bytes")}

    assert names == {"duplicate"}


def test_what_does_not_fit_its_digest_is_counted_by_its_scope(counted):
    upload = counted.create(length=3)
    counted.put(upload, 0, b"xyz")
    with pytest.raises(Refused, match="digest-mismatch"):
        counted.complete(upload, b"abc")
    counted.receiver.records.mismatched(upload)

    assert counted.figure("checksum_failures_total", scope="file") == 2
    assert counted.figure("checksum_failures_total", scope="chunk") == 0
    assert counted.figure("checksum_failures_total", scope="at_rest") == 0


def test_each_verification_is_timed_once_and_a_repetition_is_none(counted):
    counted.upload(b"abc", "a.mp4")
    counted.complete(counted.create("a.mp4", 3), b"abc")

    assert counted.figure("verify_duration_seconds_count") == 1
    assert counted.figure("verify_duration_seconds_sum") == 0, "by a clock that stood still"


def test_each_file_found_corrupt_is_counted_once(counted):
    first, second = (counted.upload(b"hello " * 9, name) for name in ("a.mp4", "b.mp4"))
    assert counted.housekeeper.count_rot() == 0

    for receipt in (first, second):
        go_bad(counted, receipt)
        assert counted.housekeeper.count_rot() == 1
        assert counted.housekeeper.count_rot() == 0
    counted.restart()

    assert counted.housekeeper.count_rot() == 0
    assert counted.figure("checksum_failures_total", scope="at_rest") == 2


def test_a_corrupt_file_may_be_the_first_event_that_a_database_ever_had(counted):
    receipt = counted.upload(b"hello " * 9)
    counted.stop()
    with closing(sqlite3.connect(counted.data_dir / "state.db")) as connection, connection:
        # As after an update from a version that told of nothing.
        connection.execute("DELETE FROM events")
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
    counted.start()

    go_bad(counted, receipt)

    assert counted.housekeeper.count_rot() == 1


def go_bad(site: CoreSite, receipt: Receipt) -> None:
    """Let the published file change on the disk, and be found by a scrub."""
    (site.data_dir / "published" / receipt.published_as).write_bytes(b"jello " * 9)
    blobs = FileBlobs(site.data_dir)
    blobs.look()
    try:
        Scrub(site.state, blobs, site.clock).run(lambda _report, _path: None, Report())
    finally:
        blobs.close()
