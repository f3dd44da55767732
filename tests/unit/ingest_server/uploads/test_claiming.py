"""A create that names a digest: what its device has published before need not be sent again."""

import errno
import os
from dataclasses import replace
from typing import Any

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.earlier import MOST_NAMES
from ingest_server.uploads.pending import Pending
from tests.support import readings
from tests.support.core_site import CoreSite, InThread, new_key, on_all_stores, on_disk
from tests.support.faulty_blobs import failing
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest, CreateRequest, UploadStatus

DATA = os.urandom(5000)
READ = "read published"


def asked(
    site: CoreSite,
    data: bytes = DATA,
    name: str = "a.mp4",
    *,
    key: str | None = None,
    device: str = "cam",
    **more: Any,
) -> tuple[UploadStatus, bool, Pending | None]:
    request = CreateRequest(name, length=len(data), digest=Digest.of(data), **more)
    return site.receiver.creation.claim(device, key or new_key(), request)


def uploads(site: CoreSite) -> int:
    return len(site.state.page(device=None, state=None, after=None, limit=100))


def forget_readings(site: CoreSite) -> None:
    readings.forget(site.receiver.standings)


def damage(site: CoreSite, published_as: str) -> None:
    path = site.data_dir / "published" / published_as
    path.write_bytes(b"?" + path.read_bytes()[1:])


def test_the_very_file_is_answered_with_its_receipt_and_nothing_is_made_or_read(site):
    receipt = site.upload(DATA)

    status, is_new, pending = asked(site)

    assert (status.state, status.receipt, is_new, pending) == ("complete", receipt, False, None)
    assert status.id == receipt.upload_id
    assert uploads(site) == 1
    assert READ not in site.blobs.seen


@pytest.mark.parametrize("elsewhere", [{"folder": "day-2"}, {"name": "copy.mp4"}])
def test_the_same_bytes_elsewhere_are_a_file_of_their_own_without_a_byte_sent(site, elsewhere):
    first = site.upload(DATA)

    status, is_new, _ = asked(site, **elsewhere)

    receipt = present(status.receipt)
    assert (status.state, is_new) == ("complete", False)
    assert (receipt.upload_id, receipt.name) == (status.id, elsewhere.get("name", "a.mp4"))
    assert receipt.published_as != first.published_as
    assert site.published() == {first.published_as: DATA, receipt.published_as: DATA}
    assert asked(site, **elsewhere)[0] == status


def test_bytes_that_nobody_or_another_device_has_published_are_to_be_sent(site):
    site.upload(DATA)

    for data, device in ((DATA[1:], "cam"), (DATA, "dog")):
        status, is_new, pending = asked(site, data, device=device)

        assert (status.state, status.receipt, is_new, pending) == ("open", None, True, None)


def test_a_file_published_without_the_clients_digest_is_verified_against_who_claims_it(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    first = site.complete(upload, DATA, digest=False)

    status, _, _ = asked(site)

    assert (first.verified_against, present(status.receipt).verified_against) == ("none", "client")
    assert present(status.receipt).published_as == first.published_as
    complete = site.receiver.complete("cam", status.id, CompleteRequest(len(DATA), None))
    assert complete == status.receipt


@on_disk
def test_l3_a_damaged_file_is_not_claimed_and_the_bytes_go_beside_it(site):
    first = site.upload(DATA)
    damage(site, first.published_as)

    status, is_new, _ = asked(site)
    site.put(status.id, 0, DATA)
    second = site.complete(status.id, DATA)

    assert (status.state, is_new) == ("open", True)
    assert site.published()[second.published_as] == DATA
    assert site.published()[first.published_as] != DATA


def test_l3_a_file_that_a_consumer_took_away_is_not_claimed(site):
    receipt = site.upload(DATA)
    site.blobs.remove_published(receipt.published_as, site.blobs.identity(receipt.published_as))

    assert asked(site)[0].state == "open"


def test_while_the_file_is_read_the_upload_takes_bytes_and_the_same_request_tells_later(site):
    first = site.upload(DATA)
    forget_readings(site)
    site.receiver.settings = replace(site.receiver.settings, verify_wait_s=0.01)
    key = new_key()

    with readings.taking_its_time(site.receiver.standings):
        status, _, pending = asked(site, key=key)
        assert (status.state, pending) == ("open", Pending(1.0))
        assert site.put(status.id, 0, DATA[:10]).received.total == 10
        assert asked(site, key=key)[2] is not None
        running = site.store.live.pin(status.id).reading
    running.result(20)

    again, is_new, pending = asked(site, key=key)
    assert (again.id, again.state, is_new, pending) == (status.id, "complete", False, None)
    assert again.receipt == first
    assert site.blobs.seen.count(READ) == 1


def test_a_key_that_comes_with_another_digest_is_never_answered_with_the_first_ones_receipt(site):
    first, other = site.upload(DATA), DATA[::-1]
    forget_readings(site)
    site.receiver.settings = replace(site.receiver.settings, verify_wait_s=0.01)
    key = new_key()

    with readings.taking_its_time(site.receiver.standings):
        status, _, pending = asked(site, key=key)
        assert pending is not None
        running = site.store.live.pin(status.id).reading
        site.receiver.settings = replace(site.receiver.settings, verify_wait_s=20.0)
        joining = InThread(lambda: asked(site, other, key=key))
    running.result(20)

    with pytest.raises(Refused, match="idempotency-key-reused"):
        joining.join(20)
    with pytest.raises(Refused, match="idempotency-key-reused"):
        asked(site, other, key=key)
    assert asked(site, key=key)[0].receipt == first


def test_an_upload_that_was_made_without_a_digest_is_claimed_with_one(site):
    receipt = site.upload(DATA)
    key = new_key()
    made, is_new = site.receiver.creation.create(
        "cam", key, CreateRequest("a.mp4", length=len(DATA))
    )
    assert (made.state, made.ask_by_digest, is_new) == ("open", True, True)

    status, is_new, _ = asked(site, key=key)

    assert (status.id, status.state, is_new) == (made.id, "complete", False)
    assert status.receipt == receipt


def test_only_an_empty_upload_of_a_length_that_its_device_has_published_is_to_ask(site):
    site.upload(DATA)
    site.upload(b"", "empty.mp4")

    def told(upload):
        return site.receiver.status("cam", upload).ask_by_digest

    same = site.create("b.mp4", len(DATA))
    assert told(same)
    site.put(same, 0, DATA[:1])
    assert not told(same)
    assert not told(site.create("b.mp4", len(DATA) - 1))
    assert not told(site.create("b.mp4"))
    assert not told(site.create("b.mp4", 0))
    other, _ = site.receiver.creation.create(
        "dog", new_key(), CreateRequest("a.mp4", length=len(DATA))
    )
    assert not other.ask_by_digest


def test_a_full_disk_refuses_no_file_that_needs_no_bytes(site):
    site.upload(DATA)
    site.receiver.settings = replace(site.receiver.settings, min_free_bytes=1 << 62)

    assert asked(site)[0].state == "complete"
    assert asked(site, folder="day-2")[0].state == "complete"
    with pytest.raises(Refused, match="storage-full"):
        asked(site, DATA[1:])


def test_files_without_a_byte_are_never_made_of_each_other(site):
    site.upload(b"", "a.mp4")

    status, is_new, _ = asked(site, b"", "b.mp4")

    assert (status.state, is_new) == ("open", True)


@on_disk
@pytest.mark.parametrize("code", [errno.EMLINK, errno.EPERM, errno.ENOENT])
def test_where_a_file_gets_no_further_name_the_bytes_are_to_be_sent(site, code):
    site.upload(DATA)
    site.blobs.fail["link again"] = failing(OSError(code, os.strerror(code)))

    status, _, _ = asked(site, folder="day-2")

    assert status.state == "open"
    site.put(status.id, 0, DATA)
    second = site.complete(status.id, DATA)
    assert site.published()[second.published_as] == DATA


@on_all_stores
def test_a_further_name_leaves_the_receipts_of_all_others_standing(site):
    receipts = [site.upload(DATA)]
    for name in ("b.mp4", "c.mp4", "d.mp4"):
        receipts.append(asked(site, name=name)[0].receipt)

    for receipt in receipts:
        assert site.receiver.status("cam", receipt.upload_id).receipt == receipt
    assert READ not in site.blobs.seen


def test_one_content_is_given_a_few_names_by_linking_and_no_more(site):
    site.upload(DATA)
    for number in range(MOST_NAMES - 1):
        assert asked(site, name=f"{number}.mp4")[0].state == "complete"

    assert asked(site, name="one-more.mp4")[0].state == "open"
    assert asked(site)[0].state == asked(site, name="3.mp4")[0].state == "complete"


def test_the_operators_check_is_asked_about_the_name_that_is_claimed(tmp_path):
    def no_copies(record, _path):
        if record.name == "copy.mp4":
            raise Refused("upload-refused", "no copies")

    site = CoreSite(tmp_path / "data", before_publish=no_copies)
    site.upload(DATA)

    with pytest.raises(Refused, match="no copies"):
        asked(site, name="copy.mp4")
    assert asked(site)[0].state == "complete"
    site.stop()


def test_the_same_claim_many_times_at_once_makes_one_file(site):
    site.upload(DATA)
    key = new_key()

    found = [InThread(lambda: asked(site, folder="day-2", key=key)[0]) for _ in range(8)]

    told = [one.join() for one in found]
    assert len({one.id for one in told}) == 1
    # Between its link and the note of that, a file is one to be looked at: asked again, it is complete.
    assert {one.state for one in told} <= {"complete", "verifying"}
    assert site.receiver.status("cam", told[0].id).state == "complete"
    assert len(site.published()) == 2


def test_a_key_of_another_file_stays_refused(site):
    site.upload(DATA)
    key = new_key()
    site.receiver.creation.create("cam", key, CreateRequest("b.mp4", length=5))

    with pytest.raises(Refused, match="idempotency-key-reused"):
        asked(site, key=key)


def test_whether_a_receipt_still_stands_costs_no_read_of_its_file(site):
    receipt = site.upload(DATA)

    assert site.receiver.status("cam", receipt.upload_id).receipt == receipt
    assert READ not in site.blobs.seen
