"""The same bytes sent for another folder are another name of the file, while that is what was read of it."""

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.earlier import MOST_NAMES
from tests.support.core_site import CoreSite
from tests.support.faulty_blobs import failing
from tests.support.standing import DATA, claim, damage, reads, where


@pytest.fixture
def site(tmp_path):
    """What somebody does to a published file, he does to a file."""
    site = CoreSite(tmp_path / "data")
    yield site
    site.stop()


def test_the_same_bytes_in_two_folders_are_two_files(site):
    first = site.upload(DATA)

    upload, second = claim(site, folder="day-2")

    assert second.upload_id == upload
    assert [first.published_as, second.published_as] == [
        "cam/2026-11-21/a.mp4",
        "cam/2026-11-21/a-2.mp4",
    ]
    assert where(site, first.published_as).samefile(where(site, second.published_as))
    assert claim(site)[1] == first
    assert claim(site, folder="day-2")[1] == second
    assert reads(site) == 0
    assert not list((site.data_dir / "parts").iterdir())


def test_a_file_appears_in_no_more_folders_than_it_was_sent_for(site):
    first = site.upload(DATA)
    for number in range(2, MOST_NAMES + 1):
        claim(site, folder=f"day-{number}")
    assert len(site.published()) == MOST_NAMES

    with pytest.raises(Refused, match="ranges-missing"):
        claim(site, folder="one more")
    upload = site.create(length=len(DATA), folder="one more")
    site.put(upload, 0, DATA)

    assert site.complete(upload, DATA).published_as != first.published_as
    assert len(site.published()) == MOST_NAMES + 1
    assert claim(site)[1] == first  # where it is already, it needs no bytes


def test_bytes_sent_for_a_second_folder_are_a_file_of_their_own(site):
    first = site.upload(DATA)
    upload = site.create(length=len(DATA), folder="day-2")
    site.put(upload, 0, DATA)

    second = site.complete(upload, DATA)

    assert not where(site, first.published_as).samefile(where(site, second.published_as))


def test_a_damaged_file_is_linked_into_no_other_folder(site):
    first = site.upload(DATA)
    damage(site, first.published_as)

    with pytest.raises(Refused, match="ranges-missing"):
        claim(site, folder="day-2")
    assert len(site.published()) == 1


def test_a_crash_between_linking_and_its_row_ends_in_one_more_name(site):
    first = site.upload(DATA)
    site.blobs.fail["after folders"] = failing(OSError(5, "Input/output error"))
    with pytest.raises(Refused, match="storage-failed"):
        claim(site, folder="day-2")
    site.restart()

    _, second = claim(site, folder="day-2")

    assert set(site.published()) == {first.published_as, second.published_as}
