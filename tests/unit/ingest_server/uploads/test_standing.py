"""A receipt of an earlier upload is given only for a file that is what was read of it."""

import os
from dataclasses import replace

import pytest

from ingest_server.core.errors import Refused
from tests.support import readings
from tests.support.core_site import CoreSite
from tests.support.faulty_blobs import failing
from tests.support.present import present
from tests.support.standing import DATA, DAY_S, claim, damage, reads, told, verify, where


@pytest.fixture
def site(tmp_path):
    """What somebody does to a published file, he does to a file."""
    site = CoreSite(tmp_path / "data")
    yield site
    site.stop()


def test_a_file_hashed_in_this_run_is_not_read_again(site):
    first = site.upload(DATA)

    _, again = claim(site)

    assert again == first
    assert site.upload(DATA) == first
    assert reads(site) == 0


def test_l3_bytes_sent_again_are_kept_beside_a_damaged_file(site):
    first = site.upload(DATA)
    rotten = damage(site, first.published_as)

    again = site.upload(DATA)

    assert again.published_as == "cam/2026-11-21/a-2.mp4"
    assert again.upload_id != first.upload_id
    assert site.published() == {first.published_as: rotten, again.published_as: DATA}
    assert [one["path"] for one in told(site)] == [first.published_as]


def test_l3_without_the_clients_digest_bytes_sent_again_are_kept_too(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)

    again = site.complete(upload, DATA, digest=False)

    assert site.published()[again.published_as] == DATA


def test_l3_a_claimed_file_that_is_damaged_has_to_be_sent(site):
    first = site.upload(DATA)
    damage(site, first.published_as)

    with pytest.raises(Refused, match="ranges-missing") as caught:
        claim(site)

    assert present(caught.value.missing).to_pairs() == [[0, len(DATA)]]


def test_a_damaged_file_is_told_and_read_once_however_often_it_is_asked_for(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    for _ in range(3):
        with pytest.raises(Refused, match="ranges-missing"):
            claim(site)

    assert len(told(site)) == 1
    assert reads(site) == 1


def test_l3_a_complete_upload_gives_no_receipt_for_a_file_that_has_changed(site):
    first = site.upload(DATA)
    damage(site, first.published_as)

    for _ in range(2):
        with pytest.raises(Refused, match="upload-aborted: the published file has changed"):
            site.complete(first.upload_id, DATA)
    for ask in (site.receiver.status, site.receiver.take_over):
        with pytest.raises(Refused, match="upload-aborted: the published file has changed"):
            ask("cam", first.upload_id)
    listed, _ = site.receiver.listing.page("cam", state="complete", after=None, limit=10)
    assert [(one.state, one.receipt) for one in listed] == [("failed", None)]


def test_a_status_of_a_file_that_must_be_read_says_so_and_gets_it_read(site):
    first = site.upload(DATA)
    where(site, first.published_as).chmod(0o600)

    with readings.taking_its_time(site.receiver.standings):
        status = site.receiver.status("cam", first.upload_id)

    assert (status.state, status.receipt) == ("verifying", None)
    assert site.complete(first.upload_id, DATA) == first
    status = site.receiver.status("cam", first.upload_id)
    assert (status.state, status.receipt) == ("complete", first)
    assert reads(site) == 1


def test_a_file_that_only_got_a_new_mode_or_another_name_keeps_its_receipt(site):
    first = site.upload(DATA)
    os.link(where(site, first.published_as), site.data_dir / "elsewhere")

    assert site.complete(first.upload_id, DATA) == first
    assert claim(site)[1] == first
    assert told(site) == []
    assert reads(site) == 1


def test_a_file_repaired_in_place_counts_again(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    with pytest.raises(Refused, match="ranges-missing"):
        claim(site)

    damage(site, first.published_as)  # the same bit again

    assert claim(site)[1] == first


def test_the_receipt_of_a_file_that_a_consumer_took_away_stands(site):
    first = site.upload(DATA)
    where(site, first.published_as).unlink()

    assert site.complete(first.upload_id, DATA) == first
    with pytest.raises(Refused, match="ranges-missing"):
        claim(site)


def test_a_name_that_a_later_file_has_now_says_nothing_of_the_earlier_one(site):
    first = site.upload(DATA)
    where(site, first.published_as).unlink()
    site.clock.seconds += 1
    later = site.upload(DATA[::-1])
    assert later.published_as == first.published_as

    assert site.complete(first.upload_id, DATA) == first
    assert site.complete(later.upload_id, DATA[::-1]) == later
    assert told(site) == []


def test_l3_a_file_set_apart_as_damaged_gives_no_receipt(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    verify(site)

    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(first.upload_id, DATA)


def test_l3_a_half_published_file_that_changed_meanwhile_gets_no_receipt(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["after link"] = failing(OSError(5, "Input/output error"))
    with pytest.raises(Refused, match="storage-failed"):
        site.complete(upload, DATA)
    rotten = damage(site, "cam/2026-11-21/a.mp4")
    site.restart()

    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(upload, DATA)
    again = site.upload(DATA)

    assert site.published() == {"cam/2026-11-21/a.mp4": rotten, again.published_as: DATA}
    assert [one["path"] for one in told(site)] == ["cam/2026-11-21/a.mp4"]


def test_a_file_edited_before_the_store_was_done_with_it_is_read_first(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["before unlink"] = lambda: where(site, "cam/2026-11-21/a.mp4").write_bytes(
        DATA[::-1]
    )
    site.complete(upload, DATA)
    site.blobs.fail.clear()

    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(upload, DATA)


@pytest.mark.parametrize("is_taken_away", [True, False])
def test_what_cannot_be_vouched_for_in_the_end_is_not_remembered(site, is_taken_away):
    def meddle() -> None:
        file = where(site, "cam/2026-11-21/a.mp4")
        file.unlink() if is_taken_away else file.write_bytes(DATA[::-1])

    site.blobs.fail["before unlink"] = meddle
    site.upload(DATA)

    assert site.receiver.standings._noted == {}


def test_l3_the_part_of_a_complete_upload_is_kept_where_another_file_has_its_name(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["before unlink"] = failing(OSError(5, "Input/output error"))
    site.complete(upload, DATA)
    other = where(site, "cam/2026-11-21/a.mp4")
    other.unlink()
    other.write_bytes(DATA[::-1])  # of the same length

    site.restart()

    assert (site.data_dir / "lost+found" / f"{upload}.part").read_bytes() == DATA


def test_retention_leaves_a_file_that_somebody_edited_in_place(site):
    first = site.upload(DATA)
    edited = damage(site, first.published_as)
    site.clock.seconds += 11 * DAY_S
    site.receiver.settings = replace(site.receiver.settings, keep_published_s=10 * DAY_S)

    assert site.housekeeper.remove_old() == 0
    assert site.published() == {first.published_as: edited}
