"""Two stores as one while files move: whose bytes count, which names are free, what is taken away."""

import pytest

from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.interface import Claim
from ingest_server.storage.memory.write_once import WriteOnceBlobs
from ingest_server.storage.moving import MovingBlobs
from upload_protocol.ranges import ByteRange

OLD, NEW = "a" * 32, "b" * 32


@pytest.fixture
def both(tmp_path):
    both = MovingBlobs(FileBlobs(tmp_path / "before"), WriteOnceBlobs())
    both.prepare()
    yield both
    both.close()


def written(blobs, upload_id, data):
    part = blobs.open_part(upload_id, Claim(upload_id, ByteRange(0, len(data)), 1))
    part.pwrite(memoryview(data), 0)
    part.sync()
    part.close()


def published(blobs, upload_id, target, data):
    blobs.create_part(upload_id)
    written(blobs, upload_id, data)
    assert blobs.publish(upload_id, target)
    blobs.sync_published(target)
    blobs.remove_part(upload_id)


def content(blobs, target):
    part = blobs.open_published(target)
    try:
        return part.pread(100, 0)
    finally:
        part.close()


def test_an_upload_ends_where_it_began(both):
    both.before.create_part(OLD)
    both.create_part(NEW)
    for upload_id in (OLD, NEW):
        written(both, upload_id, b"1")
        assert both.publish(upload_id, f"cam/{upload_id}")

    assert both.part_ids() == [OLD, NEW]
    assert list(both.before.published_names()) == [f"cam/{OLD}"]
    assert list(both.now.published_names()) == [f"cam/{NEW}"]
    assert sorted(both.published_names()) == [f"cam/{OLD}", f"cam/{NEW}"]


def test_an_upload_of_the_first_store_is_not_begun_again_in_the_second(both):
    both.before.create_part(OLD)

    with pytest.raises(FileExistsError):
        both.create_part(OLD)


def test_a_name_of_the_first_store_is_given_to_nobody(both):
    published(both.before, OLD, "cam/a.mp4", b"old")
    both.create_part(NEW)
    written(both, NEW, b"new")

    assert both.is_taken("cam/a.mp4")
    assert both.has_twin("cam/A.mp4")
    assert not both.publish(NEW, "cam/a.mp4")
    assert content(both, "cam/a.mp4") == b"old"


def test_a_copy_is_read_as_soon_as_it_is_there(both):
    published(both.before, OLD, "cam/a.mp4", b"one")
    before = both.identity("cam/a.mp4")
    published(both.now, OLD, "cam/a.mp4", b"two")

    assert content(both, "cam/a.mp4") == b"two"
    assert both.identity("cam/a.mp4") == both.now.identity("cam/a.mp4")
    assert not both.is_unwritten(before, both.identity("cam/a.mp4"))
    assert sorted(both.published_names()) == ["cam/a.mp4"]


def test_who_removes_a_file_removes_the_copy_that_came_meanwhile(both):
    published(both.before, OLD, "cam/a.mp4", b"one")
    identity = both.identity("cam/a.mp4")
    published(both.now, OLD, "cam/a.mp4", b"one")

    assert both.remove_published("cam/a.mp4", identity)
    assert not both.is_taken("cam/a.mp4")


def test_who_removes_a_copy_leaves_what_it_was_copied_from(both):
    published(both.before, OLD, "cam/a.mp4", b"one")
    published(both.now, OLD, "cam/a.mp4", b"one")

    for _ in range(2):
        both.remove_published("cam/a.mp4", both.now.identity("cam/a.mp4") or "gone")

    assert not both.now.is_taken("cam/a.mp4")
    assert content(both.before, "cam/a.mp4") == b"one"


def test_a_copy_that_is_withdrawn_twice_leaves_what_it_was_copied_from(both):
    published(both.before, OLD, "cam/a.mp4", b"one")
    published(both.now, OLD, "cam/a.mp4", b"bad")
    both.copy_to_quarantine("cam/a.mp4")

    both.withdraw("cam/a.mp4")

    assert both.is_in_quarantine("cam/a.mp4")
    assert content(both, "cam/a.mp4") == b"one"


def test_a_name_in_a_bucket_of_its_own_is_no_name_in_the_folder(both):
    name = "s3://survey/Raw/A.mp4"

    assert both.respelled(name) == both.now.respelled(name)
    assert not both.is_taken(name)
    assert not both.may_have_twin(name)
