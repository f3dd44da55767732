"""Which name a file gets where its own is taken."""

import pytest

from tests.support.core_site import CoreSite, on_disk

DAY = "cam/2026-11-21"


@pytest.mark.parametrize("known", [1, 2, 3, 4, 7, 8, 9, 40])
def test_each_file_of_one_name_gets_the_next_number_at_the_cost_of_two_looks(site, known):
    for number in range(known):
        site.upload(b"%d" % number)
    before = site.blobs.seen.count("look")

    receipt = site.upload(b"one more")

    assert receipt.published_as == f"{DAY}/a-{known + 1}.mp4"
    assert site.blobs.seen.count("look") - before == 2
    assert len(site.published()) == known + 1


@on_disk
def test_a_strangers_file_between_the_numbers_is_passed_by_and_costs_one_look_more(site):
    (site.data_dir / "published" / DAY).mkdir(parents=True)
    (site.data_dir / "published" / DAY / "a-5.mp4").write_bytes(b"somebody else's")
    names = [site.upload(b"%d" % number).published_as for number in range(20)]
    before = site.blobs.seen.count("look")

    receipt = site.upload(b"one more")

    assert f"{DAY}/a-5.mp4" not in names
    assert receipt.published_as == f"{DAY}/a-22.mp4"
    assert site.blobs.seen.count("look") - before <= 3
    assert (site.data_dir / "published" / DAY / "a-5.mp4").read_bytes() == b"somebody else's"


@on_disk
def test_the_name_itself_is_free_again_once_its_file_was_taken_away(site):
    for number in range(3):
        site.upload(b"%d" % number)
    (site.data_dir / "published" / DAY / "a.mp4").unlink()

    assert site.upload(b"one more").published_as == f"{DAY}/a.mp4"


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_with_a_database_from_before_the_files_each_is_found_again(tmp_path, kept):
    site = CoreSite(tmp_path / "data")
    for number in range(kept):
        site.upload(b"%d" % number)
    site.stop()
    copy = (site.data_dir / "state.db").read_bytes()
    site.start()
    receipts = [site.upload(b"later %d" % number) for number in range(5)]
    site.stop()
    for one in ("state.db", "state.db-wal", "state.db-shm"):
        (site.data_dir / one).unlink(missing_ok=True)
    (site.data_dir / "state.db").write_bytes(copy)
    site.start()

    again = [site.upload(b"later %d" % number) for number in range(5)]
    new = site.upload(b"new")

    assert [one.published_as for one in again] == [one.published_as for one in receipts]
    assert new.published_as == f"{DAY}/a-{kept + 6}.mp4"
    site.stop()
