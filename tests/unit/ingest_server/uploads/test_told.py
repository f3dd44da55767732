"""What a client is told of its upload, value by value."""

import errno
import json
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from itertools import count
from typing import Any

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.blocks import Blocks
from ingest_server.uploads.fair_pool import FairPool
from ingest_server.uploads.pending import Pending
from tests.support.core_site import CoreSite, HangingBody, InThread, on_disk
from tests.support.faulty_blobs import failing
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest, CreateRequest, Limits

DAY_S = 86400.0
CREATED = "2026-11-21T10:16:40Z"


def events(site: CoreSite) -> list[tuple[str, dict[str, Any]]]:
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection:
        rows = connection.execute("SELECT type, data FROM events ORDER BY seq")
        return [(kind, json.loads(data)) for kind, data in rows]


def expires_at(site: CoreSite, upload: str) -> str | None:
    return site.receiver.status("cam", upload).expires_at


def test_the_status_of_a_new_upload_says_all_of_it(tmp_path):
    site = CoreSite(tmp_path, max_length=5000)
    status, is_new = site.receiver.create(
        "cam", "one-key-for-this", CreateRequest("a.mp4", length=100, digest=Digest.of(b"x"))
    )

    assert is_new
    assert (status.device, status.name, status.state, status.length) == (
        "cam",
        "a.mp4",
        "open",
        100,
    )
    assert (status.received.to_pairs(), status.digest) == ([], Digest.of(b"x"))
    assert (status.limits, status.receipt) == (Limits(max_length=5000), None)
    site.stop()


def test_the_moment_of_expiry_stands_still_until_a_byte_comes(site):
    upload = site.create(length=100)
    promised = expires_at(site, upload)
    assert promised == "2026-12-05T10:16:40Z"

    site.clock.seconds += 3 * DAY_S
    assert expires_at(site, upload) == promised

    site.put(upload, 0, b"x")
    assert expires_at(site, upload) == "2026-12-08T10:16:40Z"


def test_what_the_server_slept_through_is_added_to_the_moment_of_expiry(site):
    upload = site.create(length=100)
    site.clock.seconds += DAY_S
    site.stop()
    site.clock.seconds += 5 * DAY_S

    site.start()

    assert expires_at(site, upload) == "2026-12-10T10:16:40Z"


def test_an_upload_that_should_have_expired_expires_now(site):
    upload = site.create(length=100)

    site.clock.seconds += 20 * DAY_S

    assert expires_at(site, upload) == "2026-12-11T10:16:40Z"


def test_an_upload_that_is_no_longer_needed_expires_soon_and_never_later_than_before(site):
    upload = site.create(length=100)
    site.receiver.let_expire("cam", upload, within_s=3600.0)
    assert expires_at(site, upload) == "2026-11-21T11:16:40Z"

    site.receiver.let_expire("cam", upload, within_s=7200.0)

    assert expires_at(site, upload) == "2026-11-21T11:16:40Z"
    site.clock.seconds += 3599
    assert site.receiver.expire() == 0
    site.clock.seconds += 2
    assert site.receiver.expire() == 1


def test_a_complete_upload_expires_never_and_is_told_with_what_it_became(site):
    receipt = site.upload(b"abc")

    status = site.receiver.status("cam", receipt.upload_id)

    assert (status.state, status.length, status.digest) == ("complete", 3, Digest.of(b"abc"))
    assert (status.expires_at, status.receipt) == (None, receipt)
    assert receipt.verified_at == CREATED


def test_an_aborted_upload_has_no_receipt_and_no_end_and_keeps_its_ranges(site):
    upload = site.create(length=10)
    site.put(upload, 2, b"xy")

    status = site.receiver.abort("cam", upload)

    assert (status.state, status.expires_at, status.receipt) == ("aborted", None, None)
    assert status.received.to_pairs() == [[2, 4]]


def test_a_whole_last_page_is_not_followed_by_an_empty_one(site):
    ids = sorted(site.create(f"{n}") for n in range(4))

    def page(after, limit):
        found, following = site.receiver.listing("cam", state="open", after=after, limit=limit)
        return [one.id for one in found], following

    assert page(None, 2) == (ids[:2], ids[1])
    assert page(ids[1], 2) == (ids[2:], None)
    assert page(None, 1) == (ids[:1], ids[0])
    assert page(None, 5) == (ids, None)


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
    site.receiver.create("dog", "one-key-for-this", CreateRequest("a", length=1000))

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
        lambda: site.put(upload, 0, b"abc"),
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
        site.receiver.set_length("cam", upload, 9)
    site.receiver.set_length("cam", upload, 10)
    with pytest.raises(Refused, match="inconsistent-length"):
        site.receiver.set_length("cam", upload, 11)

    assert site.receiver.status("cam", upload).length == 10
    site.receiver.settings = type(site.settings)(min_free_bytes=0, max_length=5)
    with pytest.raises(Refused, match="too-large"):
        site.receiver.set_length("cam", site.create("b"), 6)


@pytest.mark.parametrize(
    ("wait_s", "retry_after_s"), [(0.0, 1.0), pytest.param(1.2, 1.2, marks=pytest.mark.slow)]
)
def test_a_complete_that_takes_longer_than_the_wait_says_when_to_ask_again(
    tmp_path, wait_s, retry_after_s
):
    site = CoreSite(tmp_path, verify_wait_s=wait_s)
    upload, goes_on = site.create(length=3), threading.Event()
    site.put(upload, 0, b"abc")

    def wait() -> None:
        goes_on.wait(20)

    site.blobs.fail["before link"] = wait

    answer = site.receiver.complete("cam", upload, CompleteRequest(3, Digest.of(b"abc")))

    assert answer == Pending(retry_after_s=retry_after_s)
    goes_on.set()
    while isinstance(answer, Pending):
        answer = site.receiver.complete("cam", upload, CompleteRequest(3, Digest.of(b"abc")))
    assert answer.digest == Digest.of(b"abc")
    site.stop()


@on_disk
def test_a_verification_whose_disk_fails_opens_the_upload_again_and_keeps_its_bytes(site):
    upload = site.create("a.mp4", 300)
    site.put(upload, 0, b"a" * 300)
    site.restart()  # the hash is gone: verifying reads the disk
    part = site.data_dir / "parts" / f"{upload}.part"
    part.rename(part.with_suffix(".away"))
    site.clock.seconds += DAY_S

    with pytest.raises(Refused, match="storage-failed"):
        site.complete(upload, b"a" * 300)

    status = site.receiver.status("cam", upload)
    assert (status.state, status.received.to_pairs()) == ("open", [[0, 300]])
    assert status.expires_at == "2026-12-06T10:16:40Z", "from now on it has all its time again"
    [(_, told)] = [one for one in events(site) if one[0] == "ingest.upload.failed"]
    assert told["code"] == "storage-failed"
    part.with_suffix(".away").rename(part)
    assert site.complete(upload, b"a" * 300).digest == Digest.of(b"a" * 300)


@on_disk
def test_an_open_upload_whose_part_is_gone_is_a_failing_disk_and_no_fault_of_ours(site):
    upload = site.create("a.mp4", 300)
    (site.data_dir / "parts" / f"{upload}.part").unlink()

    with pytest.raises(Refused, match="storage-failed") as caught:
        site.put(upload, 0, b"a" * 300)

    assert present(caught.value.missing).to_pairs() == [[0, 300]]


@on_disk
def test_stored_bytes_that_are_gone_after_a_restart_are_asked_for_again(site):
    upload = site.create("a.mp4", 300)
    site.put(upload, 0, b"a" * 300)
    site.stop()
    (site.data_dir / "parts" / f"{upload}.part").write_bytes(b"a" * 299)
    site.start()

    # Found at the start: the byte that is not there is asked for again.
    with pytest.raises(Refused, match="ranges-missing") as caught:
        site.complete(upload, b"a" * 300)
    assert present(caught.value.missing).to_pairs() == [[299, 300]]

    assert site.published() == {}


@on_disk
def test_a_mismatch_is_told_to_the_operator_with_its_code(site):
    upload = site.create(length=3)
    site.put(upload, 0, b"xyz")
    with pytest.raises(Refused, match="digest-mismatch") as caught:
        site.complete(upload, b"abc")

    assert str(Digest.of(b"xyz")) in caught.value.detail
    assert str(Digest.of(b"abc")) in caught.value.detail
    [(_, told)] = [one for one in events(site) if one[0] == "ingest.upload.failed"]
    assert told["code"] == "digest-mismatch"


@on_disk
def test_a_checksum_of_the_clients_own_kind_that_differs_is_told_as_well(site):
    upload = site.create(length=3)

    site.receiver.records.mismatched(upload)

    [(_, told)] = [one for one in events(site) if one[0] == "ingest.upload.failed"]
    assert told["code"] == "digest-mismatch"


def test_a_repeated_file_is_verified_against_whoever_claims_it_now(site):
    upload = site.create("a.mp4", 3)
    site.put(upload, 0, b"abc")
    first = site.complete(upload, b"abc", digest=False)
    silent = site.create("a.mp4", 3)
    site.put(silent, 0, b"abc")
    claiming = site.create("a.mp4", 3)

    again = site.complete(silent, b"abc", digest=False)
    claimed = site.complete(claiming, b"abc")

    assert (first.verified_against, again.verified_against) == ("none", "none")
    assert claimed.verified_against == "client"
    assert {first.published_as, again.published_as, claimed.published_as} == {first.published_as}
    status = site.receiver.status("cam", claiming)
    assert (status.state, status.length, status.digest) == ("complete", 3, Digest.of(b"abc"))


def test_of_another_length_or_device_or_content_no_file_is_a_repetition(site):
    site.upload(b"abc", "a.mp4")

    with pytest.raises(Refused, match="ranges-missing"):
        site.complete(site.create("a.mp4", 3), b"abd")
    status, _ = site.receiver.create("dog", "one-key-for-this", CreateRequest("a.mp4", length=3))
    with pytest.raises(Refused, match="ranges-missing"):
        site.receiver.complete("dog", status.id, CompleteRequest(3, Digest.of(b"abc")))


def test_a_complete_that_says_something_else_than_the_receipt_is_refused_with_both(site):
    receipt = site.upload(b"abc")

    for request in (CompleteRequest(4, None), CompleteRequest(3, Digest.of(b"abd"))):
        with pytest.raises(Refused, match="digest-mismatch") as caught:
            site.receiver.complete("cam", receipt.upload_id, request)
        assert "complete with 3 bytes" in caught.value.detail


@pytest.mark.parametrize(
    ("size", "start", "limit"),
    [
        (4095, 0, 1),
        (64 * 1024 * 1024 + 1, 0, 1),
        (4096, -1, 1),
        (4096, 2**53, 1),
        (4096, 0, 0),
        (4096, 0, 4097),
    ],
)
def test_blocks_nobody_needs_are_refused(site, size, start, limit):
    upload = site.create(length=10)

    with pytest.raises(Refused, match="malformed-request"):
        site.receiver.blocks("cam", upload, size=size, start=start, limit=limit)


def test_blocks_are_read_no_further_for_who_has_left(site):
    upload = site.create(length=10 * 4096)
    site.put(upload, 0, b"x" * 10 * 4096)
    asked = iter([False, False, True])

    with pytest.raises(Refused, match="has left"):
        site.receiver.blocks(
            "cam", upload, size=4096, start=0, limit=10, has_left=lambda: next(asked)
        )

    assert list(asked) == []
    again = site.receiver.blocks("cam", upload, size=4096, start=0, limit=10)
    assert list(again.blocks) == list(range(10))


def once(work) -> Callable[[], None]:
    """Do *work* at the first call only; what it calls itself may come back here."""
    calls = count()

    def step() -> None:
        if next(calls) == 0:
            work()

    return step


def test_one_at_a_time_may_ask_for_the_blocks_of_an_upload(site):
    upload = site.create(length=10_000)
    site.put(upload, 0, b"x" * 5000)
    refused = []

    def ask_too() -> None:
        with pytest.raises(Refused, match="server-busy: blocks of it are being read") as caught:
            site.receiver.blocks("cam", upload, size=4096, start=0, limit=9)
        refused.append(present(caught.value.retry_after_s))

    site.blobs.fail["open"] = once(ask_too)
    first = site.receiver.blocks("cam", upload, size=4096, start=0, limit=9)

    assert list(first.blocks) == [0]
    assert refused[0] > 0
    assert site.receiver.blocks("cam", upload, size=4096, start=0, limit=9) == first


def test_blocks_wait_a_moment_for_whole_files_that_are_read_and_are_asked_for_again(site):
    upload = site.create(length=10_000)
    site.put(upload, 0, b"x" * 5000)
    go, readers = threading.Event(), FairPool(1, 1, "read")
    blocks = Blocks(site.store, readers, wait_s=lambda: 0.0)
    record = site.receiver.records.find("cam", upload)
    readers.submit("other", lambda: go.wait(20))
    try:
        for _ in range(2):
            with pytest.raises(Refused, match="server-busy: whole files are being read") as caught:
                blocks.read(record, 4096, 0, 9)
            assert present(caught.value.retry_after_s) > 0
        # What was given up is not read any more.
        site.blobs.fail["open"] = failing(AssertionError("read for nobody"))
        go.set()
        readers.submit("cam", lambda: None).result(20)
        site.blobs.fail.clear()
    finally:
        go.set()
        readers.stop()

    found = site.receiver.blocks("cam", upload, size=4096, start=0, limit=9)
    assert list(found.blocks) == [0]


class Begun(Future[Any]):
    """Runs already when somebody would give it up, and ends then."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = work
        self.set_running_or_notify_cancel()

    def cancel(self) -> bool:
        self.set_result(self._work())
        return False


class BegunAtOnce(FairPool):
    def submit(self, device, work):
        return Begun(work)


def test_blocks_whose_reading_has_begun_are_told_however_long_it_takes(site):
    upload = site.create(length=10_000)
    site.put(upload, 0, b"x" * 5000)
    record = site.receiver.records.find("cam", upload)
    readers = BegunAtOnce(1, 1, "read")

    found = Blocks(site.store, readers, wait_s=lambda: 0.0).read(record, 4096, 0, 9)

    readers.stop()
    assert list(found.blocks) == [0]


def test_blocks_that_were_replaced_while_they_were_read_are_not_told(site):
    upload = site.create(length=10_000)
    site.put(upload, 0, b"x" * 5000)
    site.blobs.fail["open"] = once(lambda: site.put(upload, 0, b"y" * 100))

    with pytest.raises(Refused, match="server-busy: bytes were replaced meanwhile") as caught:
        site.receiver.blocks("cam", upload, size=4096, start=0, limit=9)

    assert present(caught.value.retry_after_s) > 0


def test_blocks_of_an_upload_of_unknown_length_end_with_its_last_byte(site):
    upload = site.create()
    site.put(upload, 0, b"x" * 5000)

    found = site.receiver.blocks("cam", upload, size=4096, start=0, limit=4096)
    later = site.receiver.blocks("cam", upload, size=4096, start=1, limit=4096)

    assert found.blocks == {0: Digest.of(b"x" * 4096), 1: Digest.of(b"x" * 904)}
    assert (found.size, found.next, later.next) == (4096, None, None)
    assert list(later.blocks) == [1]


def test_whole_uploads_are_joined_in_their_order(site):
    parts = [site.create(f"{n}", size) for n, size in enumerate((3, 0, 4))]
    site.put(parts[0], 0, b"abc")
    site.put(parts[2], 0, b"defg")
    joined, short = site.create("whole", 7), site.create("short", 7)
    site.put(short, 0, b"abc")

    site.receiver.concatenate("cam", joined, parts)

    assert site.received(joined) == [[0, 7]]
    assert site.complete(joined, b"abcdefg").length == 7
    with pytest.raises(Refused, match="ranges-missing"):
        site.receiver.concatenate("cam", site.create("other", 7), [short])
    with pytest.raises(Refused, match="ranges-missing"):
        site.receiver.concatenate("cam", site.create("third", 7), [site.create("unknown length")])
