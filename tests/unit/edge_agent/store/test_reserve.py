"""What is held back on the disk of the state: taken while there is room, given up when there is none."""

from typing import Any

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store
from edge_agent.store.reserve import PIECE_BYTES, RESERVE_BYTES, Reserve
from tests.support.clock import VirtualClock
from tests.support.small_disk import small_disk


class Room:
    """Says how much is free."""

    def __init__(self, free):
        self.free = free

    def __call__(self, _folder):
        return self.free


def test_it_is_taken_where_twice_as_much_is_free(tmp_path):
    room = Room(2 * RESERVE_BYTES - 1)
    reserve = Reserve(tmp_path, free=room)

    reserve.take()
    assert reserve.held_bytes == 0

    room.free += 1
    reserve.take()
    held = (tmp_path / "agent.reserve").stat()
    assert held.st_blocks * 512 >= RESERVE_BYTES == held.st_size


def test_nothing_is_given_up_while_writing_works(tmp_path):
    room = Room(2 * RESERVE_BYTES)
    reserve = Reserve(tmp_path, free=room)
    reserve.take()
    room.free = 0

    for _ in range(10):
        reserve.before_write()
        reserve.written()

    assert reserve.held_bytes == RESERVE_BYTES


def test_a_failure_for_another_reason_than_room_gives_nothing_up(tmp_path):
    reserve = Reserve(tmp_path, free=Room(2 * RESERVE_BYTES))
    reserve.take()

    assert not reserve.write_failed()
    reserve.before_write()

    assert reserve.held_bytes == RESERVE_BYTES


def test_it_is_told_when_it_is_needed_and_taken_again_when_there_is_room(tmp_path):
    room = Room(2 * RESERVE_BYTES)
    told: list[Any] = []
    reserve = Reserve(tmp_path, free=room)
    reserve.on_need = told.append
    reserve.take()
    room.free = 0

    assert reserve.write_failed()
    reserve.before_write()
    assert (told, reserve.held_bytes) == ([True], RESERVE_BYTES - PIECE_BYTES)

    room.free = 2 * RESERVE_BYTES
    reserve.take()
    assert (told, reserve.held_bytes) == ([True, False], RESERVE_BYTES)


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "state", size="24m") as made:
        yield made


def open_store(disk, reserve):
    return Store.open(disk.path / "agent.db", clock=VirtualClock(), boot_id="boot", reserve=reserve)


def events(count, of_bytes=1000):
    return [NewEvent("agent.started", {"text": "x" * of_bytes}) for _ in range(count)]


def fill_at_once(disk):
    """Take what is free, as a recorder does that never stops."""
    with (disk.path / "recorder").open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


def test_on_a_full_disk_one_write_fails_and_the_next_ones_work_beside_a_recorder(disk):
    reserve = Reserve(disk.path)
    reserve.take()
    store = open_store(disk, reserve)
    store.outbox.tell(*events(1))
    disk.fill()

    failed = 0
    for _ in range(30):
        fill_at_once(disk)
        try:
            store.outbox.tell(*events(20))
        except StoreError:
            failed += 1

    assert failed == 1
    assert 0 < reserve.held_bytes < RESERVE_BYTES
    assert len(store.outbox.undelivered(limit=1000)) == 1 + 29 * 20
    store.close()


def test_a_store_is_opened_on_a_full_disk_with_what_was_held_back(disk):
    first = Reserve(disk.path)
    first.take()
    store = open_store(disk, first)
    store.outbox.tell(*events(20))
    store.close()
    disk.fill()

    with pytest.raises(StoreError, match=r"full|I/O"):
        open_store(disk, None)

    reserve = Reserve(disk.path)
    store = open_store(disk, reserve)
    store.outbox.tell(*events(1))
    assert len(store.outbox.undelivered(limit=100)) == 21
    store.close()
