"""What is recorded of a request, and when."""

import errno
import mmap
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.body import KEPT_ROOMS, ROOM_BYTES, Rooms
from tests.support.core_site import (
    BrokenBody,
    BytesBody,
    CoreSite,
    HangingBody,
    InThread,
    on_all_stores,
)
from tests.support.faulty_blobs import failing
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest
from upload_protocol.ranges import MAX_RANGES, ByteRange, RangeSet

MIB = 1024 * 1024
DATA = os.urandom(3 * MIB + 17)


@on_all_stores
def test_bytes_in_any_order_make_the_file(site):
    upload = site.create(length=len(DATA))

    site.put(upload, 2 * MIB, DATA[2 * MIB :])
    site.put(upload, 0, DATA[:MIB])
    status = site.put(upload, MIB, DATA[MIB : 2 * MIB])

    assert status.received.to_pairs() == [[0, len(DATA)]]
    site.complete(upload, DATA)
    assert list(site.published().values()) == [DATA]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConnectionResetError("peer"), "body-truncated"),
        (TimeoutError("stalled"), "request-timeout"),
    ],
)
@on_all_stores
def test_a_broken_body_keeps_what_arrived_and_tells_what_is_missing(site, error, code):
    upload = site.create(length=1000)

    with pytest.raises(Refused) as caught:
        site.put(upload, 100, b"x" * 300, stop=900, body=BrokenBody(b"x" * 300, error))

    assert caught.value.code == code
    assert present(caught.value.missing).to_pairs() == [[0, 100], [400, 1000]]
    assert site.received(upload) == [[100, 400]]


@on_all_stores
def test_a_body_that_ends_before_its_range_is_truncated(site):
    upload = site.create(length=1000)

    with pytest.raises(Refused, match="body-truncated"):
        site.put(upload, 0, b"", stop=1000, body=BytesBody(b"short"))

    assert site.received(upload) == [[0, 5]]


@on_all_stores
def test_data_is_durable_before_its_row(site):
    upload = site.create(length=1000)
    seen_rows: list[int] = []
    site.blobs.fail["sync"] = lambda: seen_rows.append(recorded(site, upload))

    site.put(upload, 0, b"x" * 1000)

    assert seen_rows == [0]
    assert recorded(site, upload) == 1000


def recorded(site: CoreSite, upload: str) -> int:
    return site.state.get(upload).received.total


def test_a_long_body_is_sealed_as_it_comes(tmp_path):
    site = CoreSite(tmp_path, seal_bytes=MIB)
    upload = site.create(length=len(DATA))
    along: list[int] = []

    class Watching(BytesBody):
        def readinto(self, buffer):
            along.append(recorded(site, upload))
            return super().readinto(buffer)

    site.put(upload, 0, DATA, body=Watching(DATA, step=MIB))

    assert sorted(set(along)) == [0, MIB, 2 * MIB, 3 * MIB]
    site.stop()


def test_a_request_as_large_as_a_seal_is_sealed_once_wherever_it_begins(tmp_path):
    site = CoreSite(tmp_path, seal_bytes=MIB)
    upload = site.create(length=2 * MIB)
    site.put(upload, 0, DATA[:1000])
    site.blobs.seen.clear()

    site.put(upload, 1000, DATA[1000 : 1000 + MIB])

    assert site.blobs.seen.count("sync") == 1
    assert site.received(upload) == [[0, 1000 + MIB]]
    site.stop()


@on_all_stores
def test_the_disk_begins_before_a_seal_waits_for_it(site):
    upload = site.create(length=len(DATA))
    site.blobs.seen.clear()

    site.put(upload, 0, DATA)

    steps = [step for step in site.blobs.seen if step != "pwrite"]
    assert steps.count("write_out") >= 3
    assert steps[-1] == "sync"


@on_all_stores
def test_beginning_to_write_out_is_no_seal(site):
    upload = site.create(length=len(DATA))
    site.blobs.fail["sync"] = failing(OSError(errno.EIO, "the disk lost it"))

    with pytest.raises(Refused, match="storage-failed"):
        site.put(upload, 0, DATA)

    assert "write_out" in site.blobs.seen
    assert recorded(site, upload) == 0


@on_all_stores
def test_a_body_is_read_in_four_pieces_at_least(site):
    seen: list[int] = []

    class Watching(BytesBody):
        def readinto(self, buffer):
            seen.append(len(buffer))
            return super().readinto(buffer)

    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA, body=Watching(DATA, step=MIB))

    assert seen[:4] == 4 * [len(DATA) // 4]


def test_no_read_goes_past_the_next_seal(tmp_path):
    site = CoreSite(tmp_path, seal_bytes=MIB + 1)
    upload = site.create(length=len(DATA))
    unsealed: list[int] = []

    class Watching(BytesBody):
        def readinto(self, buffer):
            got = super().readinto(buffer)
            unsealed.append(self.at - recorded(site, upload))
            return got

    site.put(upload, 0, DATA, body=Watching(DATA))

    assert max(unsealed) == MIB + 1
    site.stop()


@on_all_stores
def test_a_slow_body_is_sealed_after_two_seconds(site):
    upload = site.create(length=100)
    along: list[int] = []

    class Slow(BytesBody):
        def readinto(self, buffer):
            site.clock.seconds += 1.0
            along.append(recorded(site, upload))
            return super().readinto(buffer)

    site.put(upload, 0, b"x" * 100, body=Slow(b"x" * 100, step=20))

    assert along == [0, 0, 40, 40, 80]


@on_all_stores
def test_a_status_request_seals_what_is_on_its_way(site):
    upload = site.create(length=100)
    seen: list[object] = []

    class Asking(BytesBody):
        def at_end(self):
            raise AssertionError

        def readinto(self, buffer):
            seen.append(site.received(upload))
            return super().readinto(buffer)

    site.put(upload, 0, b"x" * 100, body=Asking(b"x" * 100, step=50))

    assert seen == [[], [[0, 50]]]


@on_all_stores
def test_a_digest_that_does_not_fit_records_nothing(site):
    upload = site.create(length=1000)

    with pytest.raises(Refused, match="content-digest-mismatch") as caught:
        site.put(upload, 0, b"x" * 1000, digest=Digest.of(b"other"))

    assert present(caught.value.missing).to_pairs() == [[0, 1000]]
    assert site.received(upload) == []


@on_all_stores
def test_a_body_with_a_digest_is_recorded_only_at_its_end(site):
    upload = site.create(length=1000)

    with pytest.raises(Refused, match="body-truncated"):
        site.put(
            upload,
            0,
            b"",
            stop=1000,
            body=BrokenBody(b"x" * 999, ConnectionResetError()),
            digest=Digest.of(b"x" * 1000),
        )
    assert site.received(upload) == []

    site.put(upload, 0, b"x" * 1000, digest=Digest.of(b"x" * 1000))
    assert site.received(upload) == [[0, 1000]]


@on_all_stores
def test_bytes_whose_digest_did_not_fit_leave_no_trace_in_the_running_hash(site):
    upload = site.create(length=2000)
    site.put(upload, 0, b"a" * 1000)

    with pytest.raises(Refused, match="content-digest-mismatch"):
        site.put(upload, 1000, b"x" * 1000, digest=Digest.of(b"other"))
    site.put(upload, 1000, b"b" * 1000)

    site.complete(upload, b"a" * 1000 + b"b" * 1000)


@on_all_stores
def test_a_failed_fdatasync_is_never_taken_back(site):
    upload = site.create(length=2000)
    site.put(upload, 0, b"a" * 500)
    site.blobs.fail["sync"] = failing(OSError(errno.EIO, "gone"))

    with pytest.raises(Refused, match="storage-failed"):
        site.put(upload, 500, b"b" * 500)
    site.blobs.fail.clear()

    assert site.received(upload) == [[0, 500]]
    site.put(upload, 500, b"c" * 1500)
    site.complete(upload, b"a" * 500 + b"c" * 1500)


def test_a_failed_seal_ends_the_request_even_where_later_syncs_succeed(tmp_path):
    site = CoreSite(tmp_path, seal_bytes=100)
    upload = site.create(length=1000)
    calls = iter([None, OSError(errno.EIO, "gone")])

    def fail_the_second():
        error = next(calls, None)
        if error:
            raise error

    site.blobs.fail["sync"] = fail_the_second

    with pytest.raises(Refused, match="storage-failed"):
        site.put(upload, 0, b"x" * 1000, body=BytesBody(b"x" * 1000, step=100))

    assert site.received(upload) == [[0, 100]]
    assert site.blobs.seen.count("sync") == 2
    site.stop()


@on_all_stores
def test_a_full_disk_keeps_the_prefix(site):
    upload = site.create(length=1000)
    site.blobs.fail["pwrite"] = failing(OSError(errno.ENOSPC, "full"), after=3)

    with pytest.raises(Refused, match="storage-full") as caught:
        site.put(upload, 0, b"x" * 1000, body=BytesBody(b"x" * 1000, step=100))

    assert caught.value.retry_after_s is not None
    assert present(caught.value.missing).to_pairs() == [[300, 1000]]
    site.blobs.fail.clear()
    site.put(upload, 300, b"y" * 700)
    site.complete(upload, b"x" * 300 + b"y" * 700)


@on_all_stores
def test_equal_bytes_are_not_written_again(site):
    upload = site.create(length=1000)
    site.put(upload, 200, b"x" * 300)
    site.blobs.seen.clear()

    site.put(upload, 100, b"a" * 100 + b"x" * 300 + b"b" * 100)

    assert site.blobs.seen.count("pwrite") == 2
    assert site.stored(upload)[100:600] == b"a" * 100 + b"x" * 300 + b"b" * 100


@on_all_stores
def test_differing_bytes_are_unrecorded_before_they_are_overwritten(site):
    upload = site.create(length=1000)
    site.put(upload, 0, b"x" * 1000)
    site.blobs.fail["pwrite"] = failing(KeyboardInterrupt("power cut"))

    with pytest.raises(KeyboardInterrupt):
        site.put(upload, 100, b"x" * 50 + b"y" * 250)
    site.blobs.fail.clear()

    assert site.state.get(upload).received.to_pairs() == [[0, 150], [400, 1000]]
    assert site.stored(upload) == b"x" * 1000


@on_all_stores
def test_overwritten_bytes_are_in_the_file_and_in_its_digest(site):
    upload = site.create(length=3000)
    site.put(upload, 0, b"x" * 3000)

    site.put(upload, 1000, b"y" * 1000)

    assert site.received(upload) == [[0, 3000]]
    site.complete(upload, b"x" * 1000 + b"y" * 1000 + b"x" * 1000)


@on_all_stores
def test_only_a_stride_ahead_is_unrecorded(site):
    data = b"x" * (20 * MIB)
    upload = site.create(length=len(data))
    site.put(upload, 0, data)

    with pytest.raises(Refused, match="body-truncated"):
        site.put(upload, 0, b"", stop=len(data), body=BrokenBody(b"\0" * 10, OSError("cut")))

    assert site.received(upload) == [[0, 10], [8 * MIB, 20 * MIB]]


@on_all_stores
def test_too_many_pieces_are_refused_and_the_rest_stays(site):
    upload = site.create(length=10 * MAX_RANGES)
    pairs = [[10 * n, 10 * n + 1] for n in range(MAX_RANGES)]
    received = RangeSet.from_pairs(pairs)
    site.state.run(lambda rows: rows.save(replace(rows.get(upload), received=received)))

    with pytest.raises(Refused, match="too-many-ranges"):
        site.put(upload, 10 * MAX_RANGES - 5, b"x")

    assert site.received(upload) == pairs
    site.put(upload, 1, b"x")  # growing a piece is always possible


@pytest.mark.parametrize(
    ("start", "size", "total", "code"),
    [
        (0, 10, 99, "inconsistent-length"),
        (95, 10, None, "invalid-range"),
        (95, 10, 105, "inconsistent-length"),
    ],
)
@on_all_stores
def test_bytes_that_cannot_belong_to_the_file_are_refused_unread(site, start, size, total, code):
    upload = site.create(length=100)
    body = BytesBody(b"x" * size)

    with pytest.raises(Refused) as caught:
        site.put(upload, start, b"x" * size, total=total, body=body)

    assert caught.value.code == code
    assert body.at == 0


@on_all_stores
def test_a_length_is_learned_from_a_total(site):
    upload = site.create(length=None)

    site.put(upload, 0, b"x" * 10)
    assert site.put(upload, 10, b"x" * 10, total=100).length == 100
    with pytest.raises(Refused, match="inconsistent-length"):
        site.put(upload, 20, b"x" * 10, total=101)


@on_all_stores
def test_a_total_below_what_has_arrived_is_refused(site):
    upload = site.create(length=None)
    site.put(upload, 0, b"x" * 100)

    with pytest.raises(Refused, match="inconsistent-length"):
        site.put(upload, 0, b"x" * 10, total=50)


def test_too_large_is_told_before_a_body_is_read(tmp_path):
    site = CoreSite(tmp_path, max_length=1000)
    upload = site.create(length=None)

    with pytest.raises(Refused, match="too-large"):
        site.put(upload, 995, b"x" * 10)
    with pytest.raises(Refused, match="too-large"):
        site.create(length=1001)
    site.stop()


def test_a_disk_that_is_nearly_full_takes_no_more(tmp_path):
    site = CoreSite(tmp_path)
    upload = site.create(length=1000)
    site.put(upload, 0, b"x" * 10)
    site.receiver.settings = type(site.settings)(min_free_bytes=1 << 62)

    with pytest.raises(Refused, match="storage-full") as caught:
        site.put(upload, 10, b"x" * 10)
    with pytest.raises(Refused, match="storage-full"):
        site.create(length=5)

    assert present(caught.value.missing).to_pairs() == [[10, 1000]]
    assert site.readiness() == ["disk-full"]
    site.put(upload, 0, b"x" * 10)  # needs no room
    site.stop()


@on_all_stores
def test_another_devices_upload_is_like_none(site):
    upload = site.create(length=10)
    uploads, where = site.receiver, ContentRange(ByteRange(0, 1), None)

    for call in (
        lambda: uploads.status("other", upload),
        lambda: uploads.take_over("other", upload),
        lambda: uploads.receive("other", upload, where, BytesBody(b"x")),
        lambda: uploads.complete("other", upload, CompleteRequest(10, None)),
        lambda: uploads.abort("other", upload),
        lambda: uploads.lengths.fix("other", upload, 10),
        lambda: uploads.direct.sign("other", upload, []),
        lambda: uploads.direct.take("other", upload, []),
        lambda: uploads.concatenation.fill("other", site.create(), [upload]),
        lambda: uploads.expiry.soon("other", upload, 60.0),
        lambda: uploads.blocks.read("other", upload, size=4096, start=0, limit=1),
        lambda: site.receiver.status("cam", "f" * 32),
        lambda: site.receiver.status("cam", "../../etc/passwd"),
        lambda: site.receiver.status(None, "\ud800"),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert (caught.value.code, caught.value.detail) == ("upload-not-found", "no such upload")


def test_a_stopped_server_has_sealed_what_arrived(tmp_path):
    site = CoreSite(tmp_path)
    upload = site.create(length=1000)
    body = HangingBody(b"x" * 300)
    request = InThread(lambda: site.put(upload, 0, b"", stop=1000, body=body))
    body.silent.wait(10)

    site.stop()

    with pytest.raises(Refused, match="stopping"):
        request.join()
    site.start()
    assert site.received(upload) == [[0, 300]]
    site.stop()


def test_the_buffers_of_many_slow_senders_take_little_memory():
    def resident_bytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

    rooms, before = Rooms(), resident_bytes()
    with ExitStack() as requests:
        for _ in range(500):
            requests.enter_context(rooms.lend(ROOM_BYTES))[:10] = b"0123456789"

        assert resident_bytes() - before < 500 * ROOM_BYTES / 64


def test_of_the_rooms_of_many_fast_senders_a_few_are_kept():
    rooms = Rooms()

    with ExitStack() as requests:
        for _ in range(2 * KEPT_ROOMS):
            requests.enter_context(rooms.lend(10))

    assert len(rooms._kept) == KEPT_ROOMS
