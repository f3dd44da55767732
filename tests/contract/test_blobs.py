"""What every store of bytes has to do; one implementation so far."""

import pytest

from ingest_server.storage.files.parts import FileBlobs

ID = "a" * 32
OTHER = "b" * 32


@pytest.fixture
def blobs(tmp_path):
    blobs = FileBlobs(tmp_path / "data")
    blobs.prepare()
    yield blobs
    blobs.close()


@pytest.fixture
def part(blobs):
    blobs.create_part(ID)
    part = blobs.open_part(ID)
    yield part
    part.close()


def test_bytes_lie_where_they_were_written(part):
    part.pwrite(memoryview(b"world"), 6)
    part.pwrite(memoryview(b"hello "), 0)
    part.sync()

    assert part.pread(11, 0) == b"hello world"
    assert part.pread(100, 6) == b"world"
    assert part.pread(5, 100) == b""


def test_a_part_is_made_once_and_found_again(blobs):
    blobs.create_part(ID)

    with pytest.raises(FileExistsError):
        blobs.create_part(ID)
    with pytest.raises(FileNotFoundError):
        blobs.open_part(OTHER)
    assert blobs.part_ids() == [ID]
    assert blobs.has_part(ID)
    assert not blobs.has_part(OTHER)


def test_a_link_planted_as_a_part_is_not_followed(blobs, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "data" / "parts" / f"{ID}.part").symlink_to(tmp_path / "secret")

    with pytest.raises(OSError, match="symbolic"):
        blobs.open_part(ID)


def test_publishing_never_overwrites(blobs, part):
    blobs.create_part(OTHER)

    assert blobs.link(ID, "cam/day/a.mp4")
    assert blobs.link(ID, "cam/day/a.mp4")  # it is this one already
    assert not blobs.link(OTHER, "cam/day/a.mp4")
    assert blobs.is_linked(ID, "cam/day/a.mp4")
    assert not blobs.is_linked(OTHER, "cam/day/a.mp4")
    assert blobs.is_taken("cam/day/a.mp4")
    assert not blobs.is_taken("cam/other/a.mp4")


def test_a_published_file_outlives_its_part(blobs, part, tmp_path):
    part.pwrite(memoryview(b"hello"), 0)
    blobs.link(ID, "a.mp4")
    blobs.sync_target("a.mp4")
    blobs.remove_part(ID)
    blobs.remove_part(ID)

    assert (tmp_path / "data" / "published" / "a.mp4").read_bytes() == b"hello"
    assert blobs.is_published("a.mp4", 5)
    assert not blobs.is_published("a.mp4", 6)
    assert not blobs.is_published("none", 5)
    assert not blobs.is_linked(ID, "a.mp4")


def test_modes_do_not_depend_on_the_umask(blobs, part, tmp_path):
    blobs.link(ID, "cam/a.mp4")

    assert (tmp_path / "data" / "published" / "cam" / "a.mp4").stat().st_mode & 0o777 == 0o640


def test_set_aside_keeps_both_of_one_name(blobs, tmp_path):
    for content in (b"1", b"2"):
        (tmp_path / "data" / "parts" / f"{ID}.part").write_bytes(content)
        blobs.set_aside(ID)

    kept = {path.read_bytes() for path in (tmp_path / "data" / "lost+found").iterdir()}
    assert kept == {b"1", b"2"}
    assert blobs.part_ids() == []
