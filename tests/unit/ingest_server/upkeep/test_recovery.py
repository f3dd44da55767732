"""A database, or files, from an older backup: nothing is published twice, nothing overwritten."""

import shutil
from pathlib import Path

import pytest

from ingest_server.base.observer import Observer
from ingest_server.core.errors import Refused
from tests.support.core_site import BytesBody, CoreSite, new_key
from tests.support.faulty_blobs import failing
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest, Receipt
from upload_protocol.ranges import ByteRange

DATA = b"hello" * 1000


class Failures(Observer):
    def __init__(self) -> None:
        self.codes: list[str] = []

    def upload_failed(self, code: str) -> None:
        self.codes.append(code)


class Site(CoreSite):
    def back_up(self) -> Path:
        """Copy the database as an operator does: at rest."""
        self.stop()
        copy = self.data_dir.parent / "backup.db"
        shutil.copy(self.data_dir / "state.db", copy)
        self.start()
        return copy

    def restore(self, copy: Path) -> None:
        self.stop()
        for name in ("state.db", "state.db-wal", "state.db-shm"):
            (self.data_dir / name).unlink(missing_ok=True)
        shutil.copy(copy, self.data_dir / "state.db")
        self.start()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "data")
    yield site
    site.stop()


def test_a_file_that_the_database_has_forgotten_is_not_published_twice(site):
    backup = site.back_up()
    first = site.upload(DATA)
    site.restore(backup)

    again = site.upload(DATA)

    assert again.published_as == first.published_as
    assert site.published() == {first.published_as: DATA}
    assert site.upload(DATA) == again


def test_a_forgotten_file_of_the_same_name_and_length_is_not_overwritten(site):
    backup = site.back_up()
    first = site.upload(DATA)
    site.restore(backup)

    other = site.upload(DATA[::-1])

    assert site.published() == {first.published_as: DATA, other.published_as: DATA[::-1]}


def test_the_same_file_of_another_upload_keeps_its_own_name(tmp_path):
    site = Site(tmp_path / "data", name_template="{name}")
    first = site.upload(DATA)
    made, _ = site.receiver.creation.create(
        "cam-2", new_key(), CreateRequest("a.mp4", length=len(DATA))
    )
    whole = ContentRange(ByteRange(0, len(DATA)), None)
    site.receiver.receive("cam-2", made.id, whole, BytesBody(DATA))

    receipt = site.receiver.complete("cam-2", made.id, CompleteRequest(len(DATA), None))

    assert sorted(site.published()) == ["a-2.mp4", "a.mp4"]
    assert isinstance(receipt, Receipt)
    assert receipt.upload_id != first.upload_id
    site.stop()


def test_an_upload_that_was_open_then_and_is_published_now_is_told_to_begin_anew(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    backup = site.back_up()
    first = site.complete(upload, DATA)
    site.restore(backup)

    assert site.recovery.lost == 1
    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(upload, DATA)
    assert site.upload(DATA).published_as == first.published_as
    assert site.published() == {first.published_as: DATA}


def test_an_upload_that_was_being_published_then_is_complete(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["before link"] = failing(OSError(28, "full"))
    with pytest.raises(Refused):
        site.complete(upload, DATA)
    site.stop()
    copy = site.data_dir.parent / "backup.db"
    shutil.copy(site.data_dir / "state.db", copy)
    site.start()
    first = site.complete(upload, DATA)

    site.restore(copy)

    assert site.recovery.lost == 0
    assert site.complete(upload, DATA) == first
    assert site.published() == {first.published_as: DATA}


def test_bytes_of_an_upload_that_the_database_has_forgotten_are_kept_for_a_person(site):
    backup = site.back_up()
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)

    site.restore(backup)

    assert site.recovery.strays == 1
    assert (site.data_dir / "lost+found" / f"{upload}.part").read_bytes() == DATA
    with pytest.raises(Refused, match="upload-not-found"):
        site.put(upload, 0, DATA)


def test_older_ranges_over_newer_bytes_end_in_the_newest_file(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    backup = site.back_up()
    newer = b"HELLO" + DATA[5:]
    site.put(upload, 0, newer)

    site.restore(backup)

    with pytest.raises(Refused, match="digest-mismatch"):
        site.complete(upload, DATA)
    assert site.complete(upload, newer).digest == Digest.of(newer)
    assert list(site.published().values()) == [newer]


def test_a_part_shorter_than_its_ranges_is_asked_for_again(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.stop()
    part = site.data_dir / "parts" / f"{upload}.part"
    part.write_bytes(DATA[:2000])
    site.start()

    assert site.recovery.shortened == 1
    assert site.received(upload) == [[0, 2000]]
    site.put(upload, 2000, DATA[2000:])
    assert site.complete(upload, DATA).digest == Digest.of(DATA)


def test_what_was_to_be_published_and_lost_its_end_is_counted_as_failed(site):
    told = site.observer = Failures()
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["before link"] = failing(OSError(5, "broken"))
    with pytest.raises(Refused):
        site.complete(upload, DATA)
    site.stop()
    part = site.data_dir / "parts" / f"{upload}.part"
    part.write_bytes(DATA[:2000])
    site.start()

    assert site.recovery.shortened == 1
    assert told.codes == ["part-lost"]


def test_the_last_copy_of_a_complete_upload_is_never_deleted(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["before unlink"] = failing(OSError(5, "broken"))
    site.complete(upload, DATA)
    [path] = site.published()
    (site.data_dir / "published" / path).unlink()

    site.restart()

    assert site.recovery.strays == 1
    assert (site.data_dir / "lost+found" / f"{upload}.part").read_bytes() == DATA
