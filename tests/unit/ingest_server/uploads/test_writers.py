"""One request's hand on a part file, without threads: what it writes, seals, and no longer does."""

import errno
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest

from ingest_server.core.errors import Refused
from ingest_server.core.record import UploadRecord
from ingest_server.uploads.hashing import RunningHash
from ingest_server.uploads.live import Live, LiveUploads
from ingest_server.uploads.writers import Writer
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange, RangeSet

MIB = 1024 * 1024


class Part:
    """A part file in memory that tells what was asked of it."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.steps: list[tuple[Any, ...]] = []
        self.sync_error: OSError | None = None

    def expect(self, start: int, stop: int) -> None:
        pass

    def pread(self, length: int, offset: int) -> bytes:
        self.steps.append(("read", offset, length))
        return bytes(self.data[offset : offset + length])

    def pwrite(self, data: memoryview, offset: int) -> None:
        self.steps.append(("write", offset, len(data)))
        self.data.extend(bytes(max(0, offset + len(data) - len(self.data))))
        self.data[offset : offset + len(data)] = data

    def write_out(self, length: int, offset: int) -> None:
        self.steps.append(("begin", offset, length))

    def copy_from(self, source: "Part", length: int, *, start: int, offset: int) -> None:
        self.pwrite(memoryview(source.data)[start : start + length], offset)

    def sync(self) -> None:
        self.steps.append(("sync",))
        if self.sync_error is not None:
            raise self.sync_error

    def close(self) -> None:
        self.steps.append(("close",))

    def took(self, kind: str) -> list[tuple[Any, ...]]:
        return [step[1:] for step in self.steps if step[0] == kind]


class Body:
    def __init__(self) -> None:
        self.is_interrupted = False

    def interrupt(self) -> None:
        self.is_interrupted = True


class Rows:
    """An upload's row; ``recorded`` is what a database would hold."""

    def __init__(self, part: Part, recorded: RangeSet) -> None:
        self.record_now = UploadRecord("u", "cam", "key", "a.mp4", "", "", received=recorded)
        self.part = part
        self.steps: list[str] = []

    def begin(self) -> tuple[UploadRecord, Part]:
        self.steps.append("begin")
        return self.record_now, self.part

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, gained: ByteRange) -> UploadRecord:
        received = self.record_now.received.add(gained)
        self.record_now = replace(self.record_now, received=received)
        return self.record_now

    def unrecord(self, gone: ByteRange) -> UploadRecord:
        before = self.record_now
        received = before.received.remove(gone)
        self.record_now = replace(before, received=received, rewrites=before.rewrites + 1)
        return self.record_now

    def end(self) -> None:
        self.steps.append("end")


class Hand:
    """A writer with what it needs, begun."""

    def __init__(self, start=0, stop=1000, *, stored=b"", recorded=(), is_held=False) -> None:
        self.part, self.body, self.running = Part(stored), Body(), RunningHash()
        self.rows = Rows(self.part, RangeSet.from_pairs(recorded))
        rows: Any = self.rows  # with a part in memory
        self.writer = Writer(ByteRange(start, stop), self.body, rows, self.running, is_held=is_held)
        self.writer.begin()

    @property
    def recorded(self) -> RangeSet:
        return self.rows.record_now.received

    def accept(self, data: bytes) -> None:
        self.writer.accept(memoryview(data))


def test_what_is_accepted_is_written_and_recorded_by_the_next_seal_only():
    hand = Hand()

    hand.accept(b"abc")
    assert (bytes(hand.part.data), hand.recorded.to_pairs()) == (b"abc", [])
    hand.writer.seal()

    assert hand.recorded.to_pairs() == [[0, 3]]
    assert present(hand.running.follow(3)).digest() == Digest.of(b"abc")
    assert (hand.writer.position, hand.writer.sealed) == (3, 3)


def test_a_seal_without_new_bytes_asks_nothing_of_the_disk():
    hand = Hand()
    hand.writer.seal()
    hand.accept(b"abc")
    hand.writer.seal()

    hand.writer.seal()

    assert len(hand.part.took("sync")) == 1


def test_once_it_is_closed_a_later_seal_does_nothing():
    hand = Hand()
    hand.accept(b"abc")

    hand.writer.close()
    hand.writer.seal()
    hand.writer.cancel(Refused("superseded", "late"))

    assert hand.part.took("sync") == []
    assert hand.recorded.to_pairs() == []
    assert (hand.part.took("close"), hand.rows.steps) == ([()], ["begin", "end"])
    assert not hand.body.is_interrupted, "its connection may carry another request by now"


def test_a_held_writer_records_nothing_before_it_is_released():
    hand = Hand(is_held=True)
    hand.accept(b"abc")
    hand.writer.seal()
    assert hand.part.took("sync") == []

    hand.writer.release()
    hand.writer.finish()

    assert hand.recorded.to_pairs() == [[0, 3]]


def test_a_seal_that_failed_is_never_tried_again_and_its_bytes_are_in_no_hash():
    hand = Hand()
    hand.accept(b"abc")
    hand.part.sync_error = OSError(errno.EIO, "gone")
    with pytest.raises(OSError, match="gone"):
        hand.writer.seal()
    hand.part.sync_error = None

    hand.writer.seal()
    for call in (hand.writer.finish, lambda: hand.accept(b"def")):
        with pytest.raises(Refused, match="storage-failed"):
            call()

    assert len(hand.part.took("sync")) == 1
    assert (hand.recorded.to_pairs(), hand.running.upto) == ([], 0)
    assert hand.part.data == b"abc"


def test_a_cancelled_writer_seals_what_it_has_and_writes_no_more():
    hand = Hand()
    hand.accept(b"abc")
    first, second = (Refused("superseded", one) for one in ("first", "second"))

    hand.writer.cancel(first)
    hand.writer.cancel(second)

    assert hand.recorded.to_pairs() == [[0, 3]]
    assert hand.body.is_interrupted
    for call in (hand.writer.finish, lambda: hand.accept(b"def")):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value is hand.writer.cancelled is first


def test_a_body_that_is_through_is_not_interrupted():
    hand = Hand(stop=3)
    hand.accept(b"abc")

    hand.writer.cancel(Refused("superseded", "late"))

    assert not hand.body.is_interrupted


def test_the_disk_is_told_to_begin_each_half_mebibyte_and_at_the_end():
    hand = Hand(stop=MIB + 10)

    for size in (MIB // 2 - 1, 1, 5, MIB // 2 + 5):
        hand.accept(bytes(size))

    assert hand.part.took("begin") == [(0, MIB // 2), (MIB // 2, MIB // 2 + 10)]


def test_stored_bytes_are_compared_and_only_what_is_new_is_written():
    hand = Hand(2, 12, stored=b"0123456789", recorded=[[4, 8]])

    hand.accept(b"ab4567cdef")

    assert hand.part.took("read") == [(4, 4)]
    assert hand.part.took("write") == [(2, 2), (8, 4)]
    assert (hand.writer.repeated, bytes(hand.part.data)) == (4, b"01ab4567cdef")


def test_from_the_first_byte_that_differs_on_bytes_are_unrecorded_and_written():
    hand = Hand(0, 10, stored=b"0123456789", recorded=[[0, 10]])

    hand.accept(b"012x456789")

    assert hand.recorded.to_pairs() == [[0, 3]]
    assert hand.part.took("write") == [(3, 7)]
    assert hand.writer.repeated == 3
    hand.writer.seal()
    assert hand.recorded.to_pairs() == [[0, 10]]
    assert present(hand.running.follow(10)).digest() == Digest.of(b"012x456789")


def test_only_the_stride_ahead_of_an_overwrite_is_unrecorded():
    size = 20 * MIB
    hand = Hand(5, size, stored=bytes(size), recorded=[[0, size]])

    hand.accept(b"x")

    assert hand.recorded.to_pairs() == [[0, 5], [5 + 8 * MIB, size]]


def test_a_copy_leaves_the_hash_behind():
    hand = Hand(0, 6)

    source: Any = Part(b"0123456789")
    hand.writer.copy(source, 4, 6)
    hand.writer.finish()

    assert (bytes(hand.part.data), hand.recorded.to_pairs()) == (b"456789", [[0, 6]])
    assert hand.running.upto == 0


def test_a_newcomer_ends_those_that_write_to_its_bytes_and_no_others():
    live = Live()
    left, right = Hand(0, 10), Hand(10, 20)
    for hand in (left, right):
        live.enter(hand.writer)

    newcomer = Hand(5, 10)
    live.enter(newcomer.writer)

    assert present(left.writer.cancelled).code == "superseded"
    assert (right.writer.cancelled, newcomer.writer.cancelled) == (None, None)
    assert live.writers() == [left.writer, right.writer, newcomer.writer]
    live.leave(left.writer)
    assert live.writers() == [right.writer, newcomer.writer]


def test_one_writer_whose_disk_fails_does_not_keep_the_others_from_being_sealed():
    live = Live()
    broken, good = Hand(0, 10), Hand(10, 20)
    for hand in (broken, good):
        live.enter(hand.writer)
        hand.accept(b"abc")
    broken.part.sync_error = OSError(errno.EIO, "gone")

    live.seal()

    assert (broken.recorded.to_pairs(), good.recorded.to_pairs()) == ([], [[10, 13]])


def test_a_closed_upload_lets_nobody_in_and_is_open_again_afterwards():
    live, why = Live(), Refused("not-open", "closed")
    older = Hand()
    live.enter(older.writer)

    with live.closed(why), pytest.raises(Refused) as caught:
        live.enter(Hand().writer)
    live.enter(Hand(2000, 3000).writer)

    assert caught.value is older.writer.cancelled is why
    assert len(live.writers()) == 2


def test_the_idle_ones_that_were_used_longest_ago_are_forgotten_first():
    uploads = LiveUploads(idle=2)
    kept = {}
    for name in ("a", "b", "a", "c"):
        with uploads.hold(name) as live:
            kept[name] = live

    assert uploads.all() == [kept["a"], kept["c"]]
    with uploads.hold("b") as again:
        assert again is not kept["b"]
