"""What is refused, with which code, and whether it may be tried again: value by value."""

import errno

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import CoreSite, HangingBody, InThread, new_key
from tests.support.faulty_blobs import failing
from tests.support.present import present
from upload_protocol.messages import CreateRequest


def test_a_refused_seal_is_told_with_what_is_missing_of_a_file_of_unknown_length(site):
    upload = site.create()
    site.put(upload, 10, b"x" * 5)
    site.blobs.fail["sync"] = failing(OSError(errno.EIO, "gone"))

    with pytest.raises(Refused, match="storage-failed") as caught:
        site.put(upload, 20, b"y" * 10)

    # As far as this request wanted to go; nobody knows more.
    assert present(caught.value.missing).to_pairs() == [[0, 10], [15, 30]]


@pytest.mark.parametrize(
    ("number", "code", "waits"),
    [
        (errno.ENOSPC, "storage-full", True),
        (errno.EDQUOT, "storage-full", True),
        (errno.EIO, "storage-failed", False),
    ],
)
def test_a_full_disk_may_be_tried_again_later_and_a_broken_one_is_named(site, number, code, waits):
    upload = site.create(length=10)
    site.blobs.fail["sync"] = failing(OSError(number, "the words of the kernel"))

    with pytest.raises(Refused) as caught:
        site.put(upload, 0, b"x")

    assert caught.value.code == code
    assert (caught.value.retry_after_s is not None) is waits
    assert caught.value.problem.retryable
    assert ("the words of the kernel" in caught.value.detail) is not waits


def test_room_is_asked_for_what_is_not_stored_yet_and_to_the_last_byte(site):
    upload = site.create(length=2000)
    site.put(upload, 0, b"x" * 500)
    site.receiver.settings = type(site.settings)(min_free_bytes=100)
    site.blobs.free = 600

    with pytest.raises(Refused, match="storage-full") as caught:
        site.put(upload, 0, b"x" * 1001)
    site.put(upload, 0, b"x" * 1000)

    assert caught.value.detail == "501 bytes do not fit: 600 are free, 100 of them reserved"
    assert caught.value.retry_after_s is not None
    assert present(caught.value.missing).to_pairs() == [[500, 2000]]


def test_an_upload_that_cannot_fit_is_refused_before_it_is_sent(site):
    site.receiver.settings = type(site.settings)(min_free_bytes=100)
    site.blobs.free = 600

    with pytest.raises(Refused, match="storage-full"):
        site.create("a", 501)
    site.create("b", 500)
    site.create("c")

    site.blobs.free = 99
    with pytest.raises(Refused, match="storage-full"):
        site.create("d")


def test_a_quota_is_full_at_its_last_byte_and_not_before(tmp_path):
    site = CoreSite(tmp_path, quota_bytes=1000)
    first = site.create("a", 600)

    with pytest.raises(Refused, match="quota-exceeded") as caught:
        site.create("b", 401)
    site.create("c", 400)
    site.receiver.creation.create("dog", "one-key-for-this", CreateRequest("a", length=1000))

    assert caught.value.retry_after_s is not None
    assert "its other unfinished uploads hold 600" in caught.value.detail
    site.receiver.abort("cam", first)
    site.create("d", 600)
    site.stop()


def test_a_quota_counts_bytes_of_uploads_whose_length_nobody_told(tmp_path):
    site = CoreSite(tmp_path, quota_bytes=1000)
    upload = site.create("a")

    with pytest.raises(Refused, match="quota-exceeded"):
        site.put(upload, 900, b"x" * 101)
    site.put(upload, 900, b"x" * 100)
    with pytest.raises(Refused, match="quota-exceeded"):
        site.put(upload, 0, b"x", total=1001)

    assert site.put(upload, 0, b"x", total=1000).length == 1000
    site.stop()


def test_a_stopping_server_refuses_every_kind_of_work_and_asks_to_come_again(site):
    upload = site.create(length=3)
    site.put(upload, 0, b"abc")
    site.stop()

    for call in (
        lambda: site.create("b"),
        lambda: site.receiver.creation.claim("cam", new_key(), CreateRequest("b", length=3)),
        lambda: site.put(upload, 0, b"abc"),
        lambda: site.receiver.direct.sign("cam", upload, []),
        lambda: site.receiver.direct.take("cam", upload, []),
        lambda: site.complete(upload, b"abc"),
    ):
        with pytest.raises(Refused, match="stopping: the server is stopping") as caught:
            call()
        assert present(caught.value.retry_after_s) > 0


def test_who_asks_how_far_it_is_for_a_single_sender_ends_the_running_request(site):
    upload = site.create(length=100)
    body = HangingBody(b"x" * 30)
    dead = InThread(lambda: site.put(upload, 0, b"", stop=100, body=body))
    assert body.silent.wait(10)

    told = site.receiver.take_over("cam", upload)

    with pytest.raises(Refused, match="superseded"):
        dead.join(10)
    assert told.received.to_pairs() == [[0, 30]]


def test_a_length_is_told_late_and_once(site):
    upload = site.create()
    site.put(upload, 0, b"x" * 10)

    with pytest.raises(Refused, match="inconsistent-length"):
        site.receiver.lengths.fix("cam", upload, 9)
    site.receiver.lengths.fix("cam", upload, 10)
    with pytest.raises(Refused, match="inconsistent-length"):
        site.receiver.lengths.fix("cam", upload, 11)

    assert site.receiver.status("cam", upload).length == 10
    site.receiver.settings = type(site.settings)(min_free_bytes=0, max_length=5)
    with pytest.raises(Refused, match="too-large"):
        site.receiver.lengths.fix("cam", site.create("b"), 6)
