"""What files do beside what every store of bytes does: names, modes, links, places."""

import pytest

from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.memory.overwriting import OverwritingBlobs

ID = "a" * 32


@pytest.fixture
def blobs(tmp_path):
    blobs = FileBlobs(tmp_path / "data")
    blobs.prepare()
    yield blobs
    blobs.close()


def test_a_link_planted_as_a_part_is_not_followed(blobs, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "data" / "parts" / f"{ID}.part").symlink_to(tmp_path / "secret")

    with pytest.raises(OSError, match="symbolic"):
        blobs.open_part(ID)


def test_published_bytes_stand_under_their_name(blobs, tmp_path):
    blobs.create_part(ID)
    part = blobs.open_part(ID)
    part.pwrite(memoryview(b"hello"), 0)
    blobs.publish(ID, "a.mp4")
    part.close()
    blobs.remove_part(ID)

    assert (tmp_path / "data" / "published" / "a.mp4").read_bytes() == b"hello"


def test_modes_do_not_depend_on_the_umask(blobs, tmp_path):
    blobs.create_part(ID)
    blobs.publish(ID, "cam/a.mp4")

    assert (tmp_path / "data" / "published" / "cam" / "a.mp4").stat().st_mode & 0o777 == 0o640


def test_a_file_where_a_folder_is_needed_is_told(blobs):
    blobs.create_part(ID)
    blobs.publish(ID, "cam")

    with pytest.raises(NotADirectoryError):
        blobs.publish(ID, "cam/a.mp4")


def test_set_aside_keeps_both_of_one_name(blobs, tmp_path):
    for content in (b"1", b"2"):
        (tmp_path / "data" / "parts" / f"{ID}.part").write_bytes(content)
        blobs.set_aside(ID)

    kept = {path.read_bytes() for path in (tmp_path / "data" / "lost+found").iterdir()}
    assert kept == {b"1", b"2"}
    assert blobs.part_ids() == []


def test_bytes_of_another_store_are_read_and_written(blobs):
    other = OverwritingBlobs()
    other.prepare()
    for store in (blobs, other):
        store.create_part(ID)
    source, part = other.open_part(ID), blobs.open_part(ID)
    source.pwrite(memoryview(b"0123456789"), 0)

    part.copy_from(source, 4, start=3, offset=1)

    assert part.pread(9, 0) == b"\x003456"
    with pytest.raises(OSError, match="ends at byte 10"):
        part.copy_from(source, 4, start=8, offset=0)
    part.close()
