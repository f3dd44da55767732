"""What protocols with one sender at a time need of the core: open ends, checksums, copies."""

import hashlib
import os

import pytest

from ingest_server.core.checksums import Checksum
from ingest_server.core.errors import Refused
from tests.support.core_site import BrokenBody, BytesBody, HangingBody, InThread, on_all_stores
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, Receipt
from upload_protocol.ranges import ByteRange

DATA = os.urandom(700_000)


def receive(site, upload, body, start=0, stop=10**9, checksum=None, total=None):
    where = ContentRange(ByteRange(start, stop), total)
    return site.receiver.receive("cam", upload, where, body, checksum, is_open_ended=True)


@on_all_stores
def test_an_open_ended_body_is_kept_up_to_where_it_ends(site):
    upload = site.create()

    status = receive(site, upload, BytesBody(DATA))

    assert status.received.to_pairs() == [[0, len(DATA)]]
    assert status.length is None


@on_all_stores
def test_a_cut_open_ended_body_is_kept_as_prefix(site):
    upload = site.create()

    with pytest.raises(Refused, match="body-truncated"):
        receive(site, upload, BrokenBody(DATA, ConnectionResetError("peer")))

    assert site.received(upload) == [[0, len(DATA)]]


@on_all_stores
def test_a_body_that_goes_on_past_the_limit_never_looks_complete(site):
    upload = site.create(length=1000)

    with pytest.raises(Refused, match="too-large"):
        receive(site, upload, BytesBody(b"x" * 1001, step=400), stop=1000)

    assert site.received(upload) == [[0, 800]]


@on_all_stores
def test_a_body_that_breaks_off_right_at_the_limit_is_whole(site):
    upload = site.create(length=1000)

    receive(site, upload, BrokenBody(b"x" * 1000, ConnectionResetError()), stop=1000)

    assert site.received(upload) == [[0, 1000]]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
@on_all_stores
def test_a_body_that_has_its_checksum_is_recorded(site, algorithm):
    upload = site.create(length=len(DATA))
    checksum = Checksum(algorithm, hashlib.new(algorithm, DATA).digest())

    receive(site, upload, BytesBody(DATA), stop=len(DATA), checksum=checksum)

    assert site.received(upload) == [[0, len(DATA)]]


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
@on_all_stores
def test_nothing_is_recorded_of_a_body_with_another_checksum(site, algorithm):
    upload = site.create(length=len(DATA))
    checksum = Checksum(algorithm, hashlib.new(algorithm, b"other").digest())

    with pytest.raises(Refused, match="content-digest-mismatch"):
        receive(site, upload, BytesBody(DATA), stop=len(DATA), checksum=checksum)

    assert site.received(upload) == []


@on_all_stores
def test_L8_asking_how_far_it_is_ends_the_earlier_request_and_keeps_its_bytes(site):
    upload = site.create(length=len(DATA))
    body = HangingBody(DATA[:1000])
    old = InThread(lambda: site.put(upload, 0, b"", body=body, stop=len(DATA)))
    assert body.silent.wait(20)

    status = site.receiver.take_over("cam", upload)

    assert status.received.to_pairs() == [[0, 1000]]
    with pytest.raises(Refused, match="superseded"):
        old.join()


@on_all_stores
def test_a_length_told_later_is_kept_and_cannot_change(site):
    upload = site.create()
    site.put(upload, 0, b"x" * 100)

    site.receiver.lengths.fix("cam", upload, 200)

    assert site.receiver.status("cam", upload).length == 200
    with pytest.raises(Refused, match="inconsistent-length"):
        site.receiver.lengths.fix("cam", upload, 300)


@on_all_stores
def test_a_length_below_what_has_arrived_is_refused(site):
    upload = site.create()
    site.put(upload, 0, b"x" * 100)

    with pytest.raises(Refused, match="inconsistent-length"):
        site.receiver.lengths.fix("cam", upload, 99)


@on_all_stores
def test_parts_put_together_are_the_file(site):
    parts = [site.create("part", length=len(piece)) for piece in (DATA[:300_001], DATA[300_001:])]
    empty = site.create("part", length=0)
    site.put(parts[0], 0, DATA[:300_001])
    site.put(parts[1], 0, DATA[300_001:])
    upload = site.create(length=len(DATA))

    site.receiver.concatenation.fill("cam", upload, [parts[0], empty, parts[1]])

    site.complete(upload, DATA)
    assert list(site.published().values()) == [DATA]


@on_all_stores
def test_a_part_may_be_used_twice_and_in_several_files(site):
    part = site.create("part", length=1000)
    site.put(part, 0, DATA[:1000])

    for name in ("a.mp4", "b.mp4"):
        upload = site.create(name, length=2000)
        site.receiver.concatenation.fill("cam", upload, [part, part])
        site.complete(upload, DATA[:1000] * 2)

    assert set(site.published().values()) == {DATA[:1000] * 2}


@on_all_stores
def test_a_part_that_is_not_whole_is_refused(site):
    part = site.create("part", length=1000)
    site.put(part, 0, DATA[:999])
    upload = site.create(length=1000)

    with pytest.raises(Refused, match="ranges-missing"):
        site.receiver.concatenation.fill("cam", upload, [part])


@on_all_stores
def test_another_devices_part_is_as_unknown_as_none(site):
    part = site.create("part", length=1000)
    site.put(part, 0, DATA[:1000])
    upload = site.create(length=1000)

    with pytest.raises(Refused, match="upload-not-found"):
        site.receiver.concatenation.fill("other", upload, [part])


@on_all_stores
def test_a_restart_in_between_loses_no_copied_byte(site):
    part = site.create("part", length=1000)
    site.put(part, 0, DATA[:1000])
    upload = site.create(length=1000)
    site.receiver.concatenation.fill("cam", upload, [part])

    site.restart()

    receipt = site.receiver.complete("cam", upload, CompleteRequest(1000, None))
    assert isinstance(receipt, Receipt)
    assert list(site.published().values()) == [DATA[:1000]]


@on_all_stores
def test_what_is_no_longer_needed_ends_early_and_nothing_else_does(site):
    used, other = site.create("part", length=10), site.create("b.mp4", length=10)

    site.receiver.expiry.soon("cam", used, 60.0)

    assert site.receiver.expiry.sweep() == 0
    site.clock.seconds += 61
    assert site.receiver.expiry.sweep() == 1
    assert site.receiver.status("cam", other).state == "open"
