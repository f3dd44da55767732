"""Verifying and the receipt."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.pending import Pending
from tests.support.core_site import CoreSite, HangingBody, InThread, on_all_stores, on_disk
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest, Receipt

DATA = os.urandom(300_000)


@on_disk
def test_l3_a_receipt_names_the_digest_of_what_is_published(site):
    receipt = site.upload(DATA, "flight 1.mp4")

    assert receipt.digest == Digest.of(DATA)
    assert receipt.length == len(DATA)
    assert receipt.verified_against == "client"
    assert receipt.published_as == "cam/2026-11-21/flight 1.mp4"
    path = site.data_dir / "published" / receipt.published_as
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750
    assert not list((site.data_dir / "parts").iterdir())


@on_all_stores
def test_completing_again_gives_the_same_receipt(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)

    first = site.complete(upload, DATA)

    assert site.complete(upload, DATA) == first
    assert site.complete(upload, DATA, digest=False) == first
    with pytest.raises(Refused, match="digest-mismatch"):
        site.complete(upload, b"x" * len(DATA))
    with pytest.raises(Refused, match="not-open"):
        site.put(upload, 0, DATA)
    assert site.receiver.status("cam", upload).receipt == first


def renamed(site: CoreSite, upload: str, name: str, folder: str | None = None) -> Receipt:
    request = CompleteRequest(len(DATA), Digest.of(DATA), None, name, folder)
    receipt = site.receiver.complete("cam", upload, request)
    assert isinstance(receipt, Receipt)
    return receipt


@on_all_stores
def test_what_was_renamed_while_it_was_sent_is_published_by_the_name_it_has_at_its_end(site):
    upload = site.create("recording.mp4", None, folder="live")
    site.put(upload, 0, DATA)

    receipt = renamed(site, upload, "final.mp4", "done")

    assert (receipt.name, receipt.published_as) == ("final.mp4", "cam/2026-11-21/final.mp4")
    assert site.published() == {"cam/2026-11-21/final.mp4": DATA}
    assert renamed(site, upload, "again.mp4") == receipt, "a receipt is given once"


@on_all_stores
def test_the_name_at_the_end_says_whether_it_is_published_already(site):
    first = site.upload(DATA, "final.mp4")
    upload = site.create("recording.mp4")
    site.put(upload, 0, DATA)

    assert renamed(site, upload, "final.mp4").published_as == first.published_as


@on_all_stores
@pytest.mark.parametrize("name", ["", "..", "x" * 5000])
def test_a_name_that_cannot_be_used_leaves_the_upload_open_by_its_own(site, name):
    upload = site.create("recording.mp4")
    site.put(upload, 0, DATA)

    with pytest.raises(Refused, match="invalid-name"):
        renamed(site, upload, name)

    assert site.complete(upload, DATA).name == "recording.mp4"


@on_all_stores
def test_a_name_told_too_early_is_kept_and_may_change_again(site):
    upload = site.create("recording.mp4")
    with pytest.raises(Refused, match="ranges-missing"):
        renamed(site, upload, "early.mp4")
    site.put(upload, 0, DATA)

    assert site.receiver.status("cam", upload).name == "early.mp4"
    assert renamed(site, upload, "../hostile\n.mp4").published_as == (
        "cam/2026-11-21/.._hostile.mp4"
    )


def told(site: CoreSite, upload: str, metadata: dict[str, str]) -> Receipt:
    request = CompleteRequest(len(DATA), Digest.of(DATA), metadata=metadata)
    receipt = site.receiver.complete("cam", upload, request)
    assert isinstance(receipt, Receipt)
    return receipt


@on_all_stores
def test_what_the_client_says_at_the_end_is_added_to_what_it_said_at_the_beginning(site):
    upload = site.create(metadata={"flight": "7", "codecs": "?", "protocol": "tus"})
    site.put(upload, 0, DATA)
    told(site, upload, {"codecs": "h264", "unfinalised": "true", "protocol": "another"})

    record = site.state.get(upload)
    assert record.metadata == {
        "flight": "7",
        "codecs": "h264",
        "unfinalised": "true",
        "protocol": "tus",
    }


@on_all_stores
def test_more_than_has_room_is_left_out_and_is_no_reason_not_to_complete(site):
    upload = site.create(metadata={"a": "x" * 5000})
    site.put(upload, 0, DATA)
    told(site, upload, {"b": "x" * 5000})

    assert site.state.get(upload).metadata == {"a": "x" * 5000}


@pytest.mark.parametrize(
    ("captured_at", "folder"),
    [
        ("2026-11-14T23:00:00Z", "2026-11-14"),
        ("1904-01-01T00:00:00Z", "2026-11-20"),
        ("2099-01-01T00:00:00Z", "2026-11-20"),
        ("yesterday", "2026-11-20"),
    ],
)
def test_the_folder_by_day_is_that_of_the_container_where_it_can_be_believed(
    tmp_path, captured_at, folder
):
    site = CoreSite(tmp_path, name_template="{recorded}/{name}")
    try:
        upload = site.create(modified_at="2026-11-20T01:00:00Z")
        site.put(upload, 0, DATA)

        assert told(site, upload, {"captured_at": captured_at}).published_as == f"{folder}/a.mp4"
    finally:
        site.stop()


@on_disk
def test_l3_one_flipped_bit_on_the_disk_is_found_after_a_restart(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.stop()
    part = site.data_dir / "parts" / f"{upload}.part"
    part.write_bytes(bytes([DATA[0] ^ 1]) + DATA[1:])
    site.start()

    with pytest.raises(Refused, match="digest-mismatch"):
        site.complete(upload, DATA)

    assert site.published() == {}
    assert site.receiver.status("cam", upload).state == "open"
    site.put(upload, 0, DATA)  # repair: only what differs is written
    site.complete(upload, DATA)
    assert list(site.published().values()) == [DATA]


@on_all_stores
def test_a_mismatch_keeps_the_claim_so_that_leaving_it_out_does_not_help(site):
    upload = site.create(length=3, digest=Digest.of(b"abc"))
    site.put(upload, 0, b"xyz")

    for digest in (Digest.of(b"abc"), None):
        with pytest.raises(Refused, match="digest-mismatch"):
            site.receiver.complete("cam", upload, CompleteRequest(3, digest))

    assert site.published() == {}


@on_all_stores
def test_the_digest_of_the_create_request_counts_too(site):
    upload = site.create(length=3, digest=Digest.of(b"abc"))
    site.put(upload, 0, b"abc")

    assert site.complete(upload, b"abc", digest=False).verified_against == "client"


@on_all_stores
def test_without_any_digest_the_receipt_says_so(site):
    upload = site.create(length=3)
    site.put(upload, 0, b"abc")

    receipt = site.complete(upload, b"abc", digest=False)

    assert (receipt.verified_against, receipt.digest) == ("none", Digest.of(b"abc"))


def test_a_server_may_require_a_digest(tmp_path):
    site = CoreSite(tmp_path, require_digest=True)
    upload = site.create(length=3)

    with pytest.raises(Refused, match="ranges-missing"):
        site.complete(upload, b"abc", digest=False)
    site.put(upload, 0, b"abc")
    with pytest.raises(Refused, match="digest-required"):
        site.complete(upload, b"abc", digest=False)

    site.complete(upload, b"abc")
    site.stop()


@on_all_stores
def test_an_empty_file_needs_no_bytes(site):
    receipt = site.upload(b"", "empty.mp4")

    assert receipt.digest == Digest.of(b"")
    assert site.published() == {"cam/2026-11-21/empty.mp4": b""}


@on_all_stores
def test_a_length_that_contradicts_is_refused_and_the_upload_stays_open(site):
    upload = site.create(length=10)
    site.put(upload, 0, b"x" * 10)

    with pytest.raises(Refused, match="inconsistent-length"):
        site.complete(upload, b"x" * 9)

    assert site.receiver.status("cam", upload).state == "open"


@on_all_stores
def test_at_most_64_missing_ranges_are_told(site):
    upload = site.create(length=1000)
    for start in range(0, 200, 2):
        site.put(upload, start, b"x")

    with pytest.raises(Refused, match="ranges-missing") as caught:
        site.complete(upload, b"x" * 1000)

    assert len(present(caught.value.missing)) == 64


@on_disk
def test_the_same_file_again_gets_the_first_receipt_and_no_second_file(site):
    first = site.upload(DATA, "a.mp4")
    again = site.create("a.mp4", len(DATA))

    assert site.complete(again, DATA) == first

    assert len(site.published()) == 1
    assert site.receiver.status("cam", again).receipt == first
    assert not list((site.data_dir / "parts").iterdir())


@on_disk
def test_a_file_that_was_taken_out_of_the_folder_is_published_anew(site):
    first = site.upload(DATA, "a.mp4")
    (site.data_dir / "published" / first.published_as).unlink()

    second = site.upload(DATA, "a.mp4")

    assert second.upload_id != first.upload_id
    assert list(site.published().values()) == [DATA]


@on_all_stores
def test_two_files_of_one_name_are_both_kept(site):
    site.upload(b"first", "a.tar.gz")
    site.upload(b"second", "a.tar.gz")
    site.upload(b"third", "a.tar.gz")

    assert site.published() == {
        "cam/2026-11-21/a.tar.gz": b"first",
        "cam/2026-11-21/a.tar-2.gz": b"second",
        "cam/2026-11-21/a.tar-3.gz": b"third",
    }


@on_all_stores
def test_two_completes_at_once_get_one_receipt(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)

    with ThreadPoolExecutor(8) as pool:
        receipts = set(pool.map(lambda _: site.complete(upload, DATA), range(8)))

    assert len(receipts) == 1
    assert len(site.published()) == 1


@on_all_stores
def test_one_file_completed_by_two_uploads_at_once_is_published_once(site):
    uploads = [site.create("a.mp4", len(DATA)) for _ in range(6)]
    for upload in uploads:
        site.put(upload, 0, DATA)

    with ThreadPoolExecutor(6) as pool:
        receipts = set(pool.map(lambda upload: site.complete(upload, DATA), uploads))

    assert len(receipts) == 1
    assert list(site.published().values()) == [DATA]


def test_long_verification_is_pending_and_goes_on(tmp_path):
    site = CoreSite(tmp_path, verify_wait_s=0.0)
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    request = CompleteRequest(len(DATA), Digest.of(DATA))
    live = site.store.live.pin(upload)

    publisher = site.receiver.publisher
    name = publisher.naming.first(site.store.find("cam", upload))
    with publisher.paused(name):  # as if it took its time
        pending = site.receiver.complete("cam", upload, request)
        assert isinstance(pending, Pending)
        assert site.receiver.status("cam", upload).state == "verifying"
        with pytest.raises(Refused, match="not-open"):
            site.put(upload, 0, DATA)
        running = present(live.verification)
        assert isinstance(site.receiver.complete("cam", upload, request), Pending)
        assert live.verification is running

    assert running.result(10) == site.receiver.complete("cam", upload, request)
    site.stop()


@on_all_stores
def test_blocks_are_told_for_what_is_there_only(site):
    size = 4096
    data = os.urandom(3 * size + 100)
    upload = site.create(length=len(data))
    site.put(upload, 0, data[: size + 1])
    site.put(upload, 2 * size, data[2 * size :])

    found = site.receiver.blocks.read("cam", upload, size=size, start=0, limit=100)
    page = site.receiver.blocks.read("cam", upload, size=size, start=0, limit=3)

    expected = {n: Digest.of(data[n * size : (n + 1) * size]) for n in (0, 2, 3)}
    assert found.blocks == expected
    assert found.next is None
    assert (set(page.blocks), page.next) == ({0, 2}, 3)


@on_all_stores
def test_l3_bytes_past_a_length_that_was_learned_late_are_not_published(site):
    upload = site.create(length=None)
    with pytest.raises(Refused, match="content-digest-mismatch"):
        site.put(upload, 0, b"x" * 1000, digest=Digest.of(b"other"))
    site.put(upload, 0, b"a" * 100)

    site.complete(upload, b"a" * 100)

    assert list(site.published().values()) == [b"a" * 100]


@on_all_stores
def test_bytes_past_a_length_learned_while_they_came_are_not_recorded(site):
    upload = site.create(length=None)
    body = HangingBody(b"x" * 1000)
    long = InThread(lambda: site.put(upload, 100, b"", stop=2000, body=body))
    assert body.silent.wait(10)

    with suppress(Refused):
        site.put(upload, 0, b"a" * 100, total=100)
    body.interrupt()
    with pytest.raises(Refused):
        long.join()

    status = site.receiver.status("cam", upload)
    assert status.received.to_pairs() == [[0, 100]]
    site.complete(upload, b"a" * 100)
    assert list(site.published().values()) == [b"a" * 100]


@on_all_stores
def test_a_file_is_complete_before_its_part_is_unlinked(site):
    upload = site.create(length=3)
    site.put(upload, 0, b"abc")
    states = []
    site.blobs.fail["before unlink"] = lambda: states.append(
        site.receiver.status("cam", upload).state
    )

    site.complete(upload, b"abc")

    assert states == ["complete"]


@on_all_stores
def test_an_upload_without_a_known_length_learns_it_at_completion(site):
    upload = site.create(length=None)
    site.put(upload, 0, DATA)

    assert site.complete(upload, DATA).length == len(DATA)


def test_a_file_stands_where_a_folder_is_needed(tmp_path):
    site = CoreSite(tmp_path, name_template="{folder}/{name}")
    site.upload(b"a file called x", "x")
    upload = site.create("y.mp4", 3, folder="x")
    site.put(upload, 0, b"abc")

    receipt = site.complete(upload, b"abc")

    assert site.published() == {"x": b"a file called x", f"{upload}/y.mp4": b"abc"}
    assert receipt.published_as == "x/y.mp4"  # what stands there may be another device's
    site.stop()
