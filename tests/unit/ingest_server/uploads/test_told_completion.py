"""What a client is told while its upload is verified, and when that goes wrong: value by value."""

import threading

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.pending import Pending
from tests.support.core_site import CoreSite, on_disk
from tests.support.events import events
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest, CreateRequest

DAY_S = 86400.0


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
    status, _ = site.receiver.creation.create(
        "dog", "one-key-for-this", CreateRequest("a.mp4", length=3)
    )
    with pytest.raises(Refused, match="ranges-missing"):
        site.receiver.complete("dog", status.id, CompleteRequest(3, Digest.of(b"abc")))


def test_a_complete_that_says_something_else_than_the_receipt_is_refused_with_both(site):
    receipt = site.upload(b"abc")

    for request in (CompleteRequest(4, None), CompleteRequest(3, Digest.of(b"abd"))):
        with pytest.raises(Refused, match="digest-mismatch") as caught:
            site.receiver.complete("cam", receipt.upload_id, request)
        assert "complete with 3 bytes" in caught.value.detail
