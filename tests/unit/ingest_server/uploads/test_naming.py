"""Which name a file gets where its own is taken."""

import pytest

from tests.support.core_site import BytesBody, CoreSite, new_key, on_disk
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest
from upload_protocol.ranges import ByteRange

DAY = "cam/2026-11-21"
LOOKS_AT_FOLDERS = 2
"""Before the operator's check and after it: whether the way to the name is there."""


@pytest.mark.parametrize("known", [1, 2, 3, 4, 7, 8, 9, 40])
def test_each_file_of_one_name_gets_the_next_number_at_the_cost_of_two_looks(site, known):
    for number in range(known):
        site.upload(b"%d" % number)
    before = site.blobs.seen.count("look")

    receipt = site.upload(b"one more")

    assert receipt.published_as == f"{DAY}/a-{known + 1}.mp4"
    assert site.blobs.seen.count("look") - before == 2 + LOOKS_AT_FOLDERS
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
    assert site.blobs.seen.count("look") - before <= 3 + LOOKS_AT_FOLDERS
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


@pytest.mark.parametrize("template", ["{date}/{name}", "{name}", "{folder}/{name}"])
def test_a_template_that_joins_devices_tells_none_of_anothers_file(tmp_path, template):
    site = CoreSite(tmp_path / "data", name_template=template)
    alone = CoreSite(tmp_path / "alone", name_template=template)
    site.upload(b"of cam", "clip-7.mp4")
    site.upload(b"of cam too", "folder")

    told = [of_dog(site, b"of dog"), of_dog(site, b"another of dog", folder="folder")]
    expected = [of_dog(alone, b"of dog"), of_dog(alone, b"another of dog", folder="folder")]

    assert [one.published_as for one in told] == [one.published_as for one in expected]
    assert len(site.published()) == 4
    [last] = [one for one in site.state.receipts() if one.upload_id == told[1].upload_id]
    assert site.published()[last.published_as] == b"another of dog"  # the operator is told
    for one in (site, alone):
        one.stop()


def test_a_device_is_not_told_how_another_has_spelled_what_they_share(tmp_path):
    site = CoreSite(tmp_path, name_template="{folder}/{name}")
    for name in ("x.mp4", "Y.MP4"):
        upload = site.create(name, 6, folder="Raw")
        site.put(upload, 0, b"of cam")
        site.complete(upload, b"of cam")

    told = [
        of_dog(site, name.encode(), "raw", name).published_as for name in ("x.mp4", "y.mp4", "z")
    ]

    assert told == ["raw/x.mp4", "raw/y.mp4", "raw/z"]
    assert {"Raw/x-2.mp4", "Raw/y-2.mp4", "Raw/z"} <= set(site.published())
    site.stop()


def of_dog(site, data: bytes, folder: str = "", name: str = "clip-7.mp4"):
    """Return the receipt that another device gets, which its status must have too."""
    wanted = CreateRequest(name, folder=folder, length=len(data))
    status, _ = site.receiver.creation.create("dog", new_key(), wanted)
    where = ContentRange(ByteRange(0, len(data)), len(data))
    site.receiver.receive("dog", status.id, where, BytesBody(data), None)
    request = CompleteRequest(len(data), Digest.of(data))
    receipt = site.receiver.complete("dog", status.id, request)
    assert site.receiver.status("dog", status.id).receipt == receipt
    return receipt
