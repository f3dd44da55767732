"""What every store of bytes has to do."""

from contextlib import suppress

import pytest

from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Claim
from tests.contract.storage.conftest import BLOBS
from upload_protocol.ranges import ByteRange

ID = "a" * 32
OTHER = "b" * 32


@pytest.fixture
def part(blobs):
    blobs.create_part(ID)
    part = blobs.open_part(ID)
    yield part
    part.close()


def read(hand) -> bytes:
    try:
        return hand.pread(1000, 0)
    finally:
        hand.close()


def store(blobs, data: bytes, upload_id: str = ID) -> None:
    blobs.create_part(upload_id)
    hand = blobs.open_part(upload_id)
    hand.pwrite(memoryview(data), 0)
    hand.sync()
    hand.close()


def stage(blobs, upload_id: str = ID) -> str | None:
    """Bring an upload to where it is published; return the identity of what will be."""
    hand = blobs.stage(upload_id, lambda: False)
    if hand is None:
        return blobs.part_identity(upload_id)
    try:
        return hand.identity()
    finally:
        hand.close()


def publish(blobs, data: bytes, target: str, upload_id: str = ID) -> None:
    store(blobs, data, upload_id)
    stage(blobs, upload_id)
    assert blobs.publish(upload_id, target)
    blobs.sync_published(target)
    blobs.remove_part(upload_id)


class TestArriving:
    def test_bytes_lie_where_they_were_written(self, blobs, part):
        part.pwrite(memoryview(b"world"), 6)
        part.pwrite(memoryview(b"hello "), 0)

        assert part.pread(11, 0) == b"hello world"
        assert part.pread(100, 6) == b"world"
        assert part.pread(5, 100) == b""

        part.sync()
        assert read(blobs.open_part(ID)) == b"hello world"
        assert blobs.part_length(ID) == part.length == 11

    def test_what_nobody_wrote_before_some_that_was_is_zeros(self, blobs, part):
        part.pwrite(memoryview(b"late"), 9)
        part.sync()

        assert read(blobs.open_part(ID)) == bytes(9) + b"late"

    def test_hands_write_side_by_side(self, blobs, part):
        other = blobs.open_part(ID)
        part.pwrite(memoryview(b"left "), 0)
        other.pwrite(memoryview(b"right"), 5)
        other.sync()
        part.sync()
        other.close()

        assert read(blobs.open_part(ID)) == b"left right"

    def test_later_bytes_of_one_hand_count_through_several_syncs(self, blobs, part):
        for word in (b"first!!", b"second"):
            part.pwrite(memoryview(word), 0)
            part.sync()

        assert read(blobs.open_part(ID)) == b"second!"

    def test_a_hand_reads_back_what_it_made_durable_where_it_expects_to_read(self, blobs, part):
        part.pwrite(memoryview(b"0123456789"), 0)
        part.sync()
        part.expect(0, 10)
        assert part.pread(4, 0) == b"0123"

        part.pwrite(memoryview(b"ab"), 4)
        part.sync()

        assert part.pread(10, 0) == b"0123ab6789"

    def test_a_newer_claims_bytes_take_the_place_of_an_older_ones(self, blobs, part):
        old = blobs.open_part(ID, Claim(ID, ByteRange(0, 10), 1))
        old.pwrite(memoryview(b"0123456789"), 0)
        old.sync()
        new = blobs.open_part(ID, Claim(ID, ByteRange(2, 6), 2))
        new.pwrite(memoryview(b"abcd"), 2)
        new.sync()

        assert read(blobs.open_part(ID)) == b"01abcd6789"
        for hand in (old, new):
            hand.close()

    def test_a_part_is_made_once_and_found_again(self, blobs):
        blobs.create_part(ID)

        with pytest.raises(FileExistsError):
            blobs.create_part(ID)
        with pytest.raises(FileNotFoundError):
            blobs.open_part(OTHER)
        assert blobs.part_ids() == [ID]
        assert blobs.part_length(ID) == 0
        assert blobs.part_length(OTHER) is None

    def test_what_lies_past_a_length_is_cut_off(self, blobs, part):
        part.pwrite(memoryview(b"hello world"), 0)
        part.sync()

        part.cut(5)
        part.cut(100)

        assert blobs.part_length(ID) == 5
        assert read(blobs.open_part(ID)) == b"hello"

    def test_bytes_of_another_upload_are_copied(self, blobs, part):
        store(blobs, b"a whole other recording", OTHER)
        source = blobs.open_part(OTHER)

        part.copy_from(source, 5, start=8, offset=3)
        part.sync()
        source.close()

        assert read(blobs.open_part(ID)) == bytes(3) + b"other"

    def test_bytes_of_a_published_file_are_copied_and_stay_when_it_goes(self, blobs, part):
        publish(blobs, b"a whole other recording", "d/a.csv", OTHER)
        source = blobs.open_published("d/a.csv")

        assert source.identity() is not None
        part.copy_from(source, 7, start=0, offset=0)
        blobs.remove_published("d/a.csv", blobs.identity("d/a.csv"))
        part.copy_from(source, 6, start=7, offset=7)
        part.sync()
        source.close()

        assert read(blobs.open_part(ID)) == b"a whole other"

    def test_a_copy_past_the_end_of_its_source_is_an_error_and_no_bytes(self, blobs, part):
        publish(blobs, b"cut off", "d/a.csv", OTHER)
        source = blobs.open_published("d/a.csv")

        with pytest.raises(OSError, match="end"):
            part.copy_from(source, 8, start=0, offset=0)
        source.close()

    def test_hints_and_a_probe_change_nothing(self, blobs, part):
        part.pwrite(memoryview(b"hello"), 0)
        part.write_out(5, 0)
        part.sync()
        part.forget_cached()
        blobs.probe()

        assert part.pread(5, 0) == b"hello"
        assert blobs.part_ids() == [ID]
        assert blobs.free_bytes() > 0

    def test_removing_is_repeatable_and_takes_one_upload_only(self, blobs):
        store(blobs, b"hello")
        store(blobs, b"world", OTHER)

        blobs.remove_part(ID)
        blobs.remove_part(ID)

        assert blobs.part_ids() == [OTHER]

    def test_what_is_set_aside_is_out_of_the_way_however_often(self, blobs):
        for data in (b"1", b"2"):
            store(blobs, data)
            blobs.set_aside(ID)
            assert blobs.part_ids() == []

    def test_a_program_of_the_operators_reads_it_as_a_local_file(self, blobs):
        store(blobs, b"hello")

        with blobs.lend_path(ID) as path:
            assert path.read_bytes() == b"hello"


class TestPublished:
    def test_publishing_never_overwrites_and_is_repeatable(self, blobs):
        store(blobs, b"one")
        store(blobs, b"two", OTHER)
        stage(blobs)
        stage(blobs, OTHER)

        assert blobs.publish(ID, "cam/day/a.mp4")
        assert blobs.publish(ID, "cam/day/a.mp4")  # it is this one already
        assert not blobs.publish(OTHER, "cam/day/a.mp4")
        if blobs.can_publish_again:  # else they are two files, and both have to be read
            assert blobs.is_published_as(ID, "cam/day/a.mp4")
        assert not blobs.is_published_as(OTHER, "cam/day/a.mp4")
        assert blobs.is_taken("cam/day/a.mp4")
        assert not blobs.is_taken("cam/other/a.mp4")
        assert read(blobs.open_published("cam/day/a.mp4")) == b"one"

    def test_a_published_file_outlives_its_part(self, blobs):
        publish(blobs, b"hello, world", "a.mp4")

        assert read(blobs.open_published("a.mp4")) == b"hello, world"
        assert blobs.is_published("a.mp4", 12)
        assert not blobs.is_published("a.mp4", 6)
        assert not blobs.is_published("none", 12)
        assert not blobs.is_published_as(ID, "a.mp4")
        with pytest.raises(FileNotFoundError):
            blobs.open_published("none")

    def test_a_file_of_no_bytes_is_published_too(self, blobs):
        publish(blobs, b"", "empty")

        assert read(blobs.open_published("empty")) == b""
        assert blobs.is_published("empty", 0)

    def test_every_name_is_listed(self, blobs):
        publish(blobs, b"1", "cam/b")
        publish(blobs, b"2", "cam/a", OTHER)

        assert list(blobs.published_names()) == ["cam/a", "cam/b"]

    def test_just_the_file_that_was_meant_is_removed(self, blobs):
        publish(blobs, b"old", "cam/day/a")
        identity = blobs.identity("cam/day/a")
        assert blobs.identity("none") is None

        assert blobs.remove_published("cam/day/a", identity)
        assert not blobs.remove_published("cam/day/a", identity)
        assert not blobs.is_taken("cam/day/a")

        publish(blobs, b"new", "cam/day/a", OTHER)
        assert not blobs.remove_published("cam/day/a", f"{identity}9")
        assert read(blobs.open_published("cam/day/a")) == b"new"

    def test_an_identity_tells_a_file_from_others_and_outlives_a_name_more_or_less(self, blobs):
        store(blobs, b"one")
        before = stage(blobs)
        blobs.publish(ID, "a")
        named = blobs.identity("a")
        blobs.remove_part(ID)
        alone = blobs.identity("a")
        publish(blobs, b"two", "b", OTHER)

        assert blobs.identity("a") == alone
        assert blobs.is_unwritten(before, named)
        assert blobs.is_unwritten(named, alone)
        assert blobs.identity("b") != alone
        assert not blobs.is_unwritten(alone, blobs.identity("b"))
        hand = blobs.open_published("a")
        assert hand.identity() == alone
        hand.close()

    def test_a_published_file_gets_one_more_name(self, blobs):
        publish(blobs, b"one", "a")
        publish(blobs, b"two", "b", OTHER)

        assert blobs.publish_again("a", "cam/c")
        assert not blobs.publish_again("a", "b")
        with pytest.raises(FileNotFoundError):
            blobs.publish_again("none", "d")
        blobs.sync_published("cam/c")

        assert read(blobs.open_published("cam/c")) == read(blobs.open_published("a")) == b"one"
        if blobs.can_publish_again:  # else it is a copy
            assert blobs.is_unwritten(blobs.identity("a"), blobs.identity("cam/c"))
        with blobs.lend_published("cam/c") as path:
            assert path.read_bytes() == b"one"

    def test_what_is_rotten_is_kept_apart_under_a_name_of_its_own(self, blobs):
        places = []
        for upload_id in (ID, OTHER):
            publish(blobs, b"rotten", "cam/a", upload_id)
            places.append(blobs.copy_to_quarantine("cam/a"))
            blobs.withdraw("cam/a")

        assert len(set(places)) == 2
        assert blobs.is_in_quarantine("cam/a")
        assert not blobs.is_in_quarantine("cam/b")
        assert not blobs.is_taken("cam/a")


class TestSharedByServices:
    @pytest.fixture(params=["memory", "write-once"])
    def blobs(self, request, tmp_path):
        return BLOBS[request.param](tmp_path)

    def test_a_superseded_hand_changes_no_byte_that_a_newer_one_wrote(self, blobs):
        blobs.create_part(ID)
        old = blobs.open_part(ID, Claim(ID, ByteRange(0, 10), 1))
        new = blobs.open_part(ID, Claim(ID, ByteRange(0, 10), 2))
        new.pwrite(memoryview(b"0123456789"), 0)
        new.sync()

        with suppress(Refused):
            old.pwrite(memoryview(b"xxxx"), 3)
            old.sync()

        assert read(blobs.open_part(ID)) == b"0123456789"


class TestTwins:
    """Names that somebody who is blind to case takes for one."""

    @pytest.mark.parametrize(
        ("there", "target"),
        [
            ("cam/A.mp4", "cam/a.mp4"),
            ("cam/clip.MP4", "cam/clip.mp4"),
            ("cam/Ü.mp4", "cam/ü.mp4"),
            ("cam/u\u0308.mp4", "cam/\u00dc.mp4"),
            ("cam/Straße", "cam/STRASSE"),
            ("A.mp4", "a.mp4"),
        ],
    )
    def test_what_differs_only_in_case_is_a_twin(self, blobs, there, target):
        publish(blobs, b"x", there)

        assert blobs.has_twin(target)
        assert not blobs.has_twin(there)

    @pytest.mark.parametrize("target", ["cam/b.mp4", "other/a.mp4", "cam/A.mp4/a", "none/A.mp4"])
    def test_another_name_is_none(self, blobs, target):
        publish(blobs, b"x", "cam/A.mp4")

        assert not blobs.has_twin(target)

    def test_what_is_published_after_a_look_is_seen_too(self, blobs):
        publish(blobs, b"x", "cam/one.mp4")
        assert not blobs.has_twin("cam/two.mp4")
        publish(blobs, b"y", "cam/TWO.mp4", OTHER)

        assert blobs.has_twin("cam/two.mp4")

    def test_a_folder_is_spelled_as_it_is(self, blobs):
        publish(blobs, b"x", "cam/Flight 1/Raw/A.mp4")

        assert blobs.respelled("cam/flight 1/RAW/b.mp4") == "cam/Flight 1/Raw/b.mp4"
        assert blobs.respelled("cam/flight 1/new/b.mp4") == "cam/Flight 1/new/b.mp4"
        assert blobs.respelled("cam/flight 2/raw/b.mp4") == "cam/flight 2/raw/b.mp4"
        assert blobs.respelled("b.mp4") == "b.mp4"
