"""The running hash covers recorded bytes only."""

import hashlib
import io

from ingest_server.uploads.hashing import RunningHash, catch_up
from tests.support.present import present
from upload_protocol.digests import Digest


class Stored:
    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)
        self.reads: list[tuple[int, int]] = []

    def expect(self, start: int, stop: int) -> None:
        pass

    def pread(self, length: int, offset: int) -> bytes:
        self.reads.append((offset, length))
        self.data.seek(offset)
        return self.data.read(length)


def test_a_trail_counts_once_it_is_adopted():
    running = RunningHash()
    trail = present(running.follow(0))
    trail.update(b"abc")
    assert running.upto == 0

    assert running.adopt(trail)

    assert running.upto == 3
    assert present(running.follow(3)).digest() == Digest.of(b"abc")
    assert running.follow(2) is None


def test_an_adopted_trail_may_go_on_without_changing_the_hash():
    running = RunningHash()
    trail = present(running.follow(0))
    trail.update(b"abc")
    running.adopt(trail)

    trail.update(b"never recorded")

    assert present(running.follow(3)).digest() == Digest.of(b"abc")


def test_replaced_bytes_make_the_hash_forget_and_old_trails_worthless():
    running = RunningHash()
    trail = present(running.follow(0))
    trail.update(b"abcdef")
    running.adopt(trail)
    other = present(running.follow(6))

    running.replaced(3)

    assert running.upto == 0
    other.update(b"ghi")
    assert not running.adopt(other)


def test_bytes_replaced_further_on_leave_the_hash_but_not_a_reader_of_them():
    running = RunningHash()
    first = present(running.follow(0))
    first.update(b"abc")
    running.adopt(first)
    reader = present(running.follow())

    running.replaced(3)

    assert running.upto == 3
    assert not running.adopt(reader)


def test_the_trail_of_the_one_who_replaces_stays_good():
    running = RunningHash()
    trail = present(running.follow(0))
    trail.update(b"abc")

    running.replaced(3, trail)

    trail.update(b"new")
    assert running.adopt(trail)
    assert present(running.follow(6)).digest() == Digest.of(b"abcnew")


def test_catching_up_reads_only_what_is_behind():
    data = bytes(range(256)) * 20_000
    running, stored = RunningHash(), Stored(data)
    trail = present(running.follow(0))
    trail.update(data[:1_000_000])
    running.adopt(trail)

    assert catch_up(running, stored, lambda: len(data), lambda: False)

    assert min(offset for offset, _ in stored.reads) == 1_000_000
    assert present(running.follow(len(data))).digest() == Digest(hashlib.sha256(data).digest())


def test_a_stopped_catch_up_keeps_what_it_has():
    running, stored = RunningHash(), Stored(bytes(5 * 1024 * 1024))

    assert not catch_up(running, stored, lambda: 5 * 1024 * 1024, lambda: len(stored.reads) == 2)

    assert running.upto == 2 * 1024 * 1024


def test_bytes_replaced_during_a_catch_up_are_not_in_the_hash():
    running = RunningHash()

    class Replaced(Stored):
        def pread(self, length, offset):
            found = super().pread(length, offset)
            running.replaced(offset)
            return found

    assert not catch_up(running, Replaced(b"abc"), lambda: 3, lambda: False)
    assert running.upto == 0


def test_a_replacement_beside_others_that_nobody_here_made_forgets_everything():
    running = RunningHash()
    trail = present(running.follow(0))
    trail.update(b"abc")
    running.adopt(trail)
    mine = present(running.follow(3))

    running.replaced(3, mine, rewrites=2)  # the first one was another service's

    assert running.upto == 0
    assert not running.adopt(mine)


def test_a_count_that_is_known_already_costs_nothing():
    running = RunningHash()
    trail = present(running.follow(0))
    trail.update(b"abc")
    running.adopt(trail)

    running.replaced(3, rewrites=1)
    running.agree(1)

    assert running.upto == 3


def test_another_algorithm_is_computed_along_from_the_first_byte():
    running = RunningHash()
    running.ask_for("md5")
    trail = present(running.follow(0))
    trail.update(b"abc")
    running.adopt(trail)
    trail.update(b"never recorded")

    found = present(running.follow(3))

    assert present(found.other("md5")).hexdigest() == hashlib.md5(b"abc").hexdigest()
    assert found.digest() == Digest.of(b"abc")
    assert found.other("sha1") is None


def test_an_algorithm_that_is_asked_for_late_counts_once_the_bytes_are_hashed_anew():
    running, stored = RunningHash(), Stored(b"abcdef")
    trail = present(running.follow(0))
    trail.update(b"abc")
    running.adopt(trail)

    running.ask_for("md5")
    assert present(running.follow()).other("md5") is None

    running.replaced(0)
    catch_up(running, stored, lambda: 6, lambda: False)
    assert (
        present(present(running.follow(6)).other("md5")).hexdigest()
        == hashlib.md5(b"abcdef").hexdigest()
    )
