"""What is held back on the disk of the state: taken while there is room, given up when there is none."""

from typing import Any

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.store import database_file
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store
from edge_agent.store.reserve import PIECE_BYTES, RESERVE_BYTES, Reserve
from tests.support.clock import VirtualClock
from tests.support.file_systems import disk_image
from tests.support.small_disk import SmallDisk, small_disk


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


def writes_that_fail(disk, store):
    """Write thirty times beside a recorder; return how many of these could not be done."""
    failed = 0
    for _ in range(30):
        fill_at_once(disk)
        try:
            store.outbox.tell(*events(20))
        except StoreError:
            failed += 1
    return failed


def test_on_a_full_disk_one_write_fails_and_the_next_ones_work_beside_a_recorder(disk):
    reserve = Reserve(disk.path)
    reserve.take()
    store = open_store(disk, reserve)
    store.outbox.tell(*events(1))
    disk.fill()

    failed = writes_that_fail(disk, store)

    assert failed == 1
    assert 0 < reserve.held_bytes < RESERVE_BYTES
    assert len(store.outbox.undelivered(limit=1000)) == 1 + 29 * 20
    store.close()


def test_a_store_is_opened_on_a_disk_that_takes_no_more_files_with_those_that_were_held_back(
    tmp_path,
):
    with small_disk(tmp_path / "state", size="24m", inodes=40) as disk:
        first = Reserve(disk.path)
        first.take()
        store = open_store(disk, first)
        store.outbox.tell(*events(20))
        store.close()
        fill_with_files(disk)

        with pytest.raises(StoreError, match="unable to open"):
            open_store(disk, None)

        reserve = Reserve(disk.path)
        store = open_store(disk, reserve)
        store.outbox.tell(*events(1))
        assert len(store.outbox.undelivered(limit=100)) == 21
        assert reserve.held_bytes == RESERVE_BYTES
        store.close()
        for number in range(20):
            (disk.path / f"empty-{number}").unlink()
        reserve.take()
        assert not reserve.is_in_need
        assert sorted(one.name for one in disk.path.glob("agent.reserve.*")) == [
            f"agent.reserve.{number}" for number in range(1, 5)
        ]


def test_whether_a_file_can_be_made_is_tried_where_a_quota_denies_what_the_disk_promises(tmp_path):
    with small_disk(tmp_path / "state", size="24m", inodes=40) as disk:
        first = Reserve(disk.path)
        first.take()
        open_store(disk, first).close()
        fill_with_files(disk)

        reserve = Reserve(disk.path, files_free=Room(1000))
        store = open_store(disk, reserve)

        store.outbox.tell(*events(1))
        assert len(store.outbox.undelivered(limit=100)) == 1
        assert reserve.held_bytes == RESERVE_BYTES
        store.close()


def test_it_is_needed_where_nothing_is_held_and_a_quota_leaves_nothing(disk):
    disk.fill()

    reserve = Reserve(disk.path, free=Room(10 * RESERVE_BYTES))

    assert reserve.write_failed()


def fill_with_files(disk):
    """Take every file that fits, with room for bytes left."""
    number = 0
    try:
        while True:
            (disk.path / f"empty-{number}").touch()
            number += 1
    except OSError:
        assert number > 20


def test_whether_there_is_room_is_tried_where_the_disk_has_some_that_a_quota_does_not_let_us_have(
    disk,
):
    reserve = Reserve(disk.path, free=Room(10 * RESERVE_BYTES))
    reserve.take()
    store = open_store(disk, reserve)
    store.outbox.tell(*events(1))
    disk.fill()

    failed = writes_that_fail(disk, store)

    assert failed == 1
    was_in_need = reserve.is_in_need
    assert was_in_need
    assert 0 < reserve.held_bytes < RESERVE_BYTES
    disk.make_room()
    (disk.path / "recorder").unlink()
    store.outbox.tell(*events(1))
    assert reserve.is_in_need is False
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


def test_a_first_start_without_room_that_only_the_try_tells_of_is_in_memory_until_there_is_some(
    disk,
):
    disk.fill()

    store = open_store(disk, Reserve(disk.path, free=Room(10 * RESERVE_BYTES)))
    store.outbox.tell(*events(3))
    assert not store.is_durable
    assert not store.settle()

    disk.make_room()
    assert store.settle()
    assert store.is_durable
    store.close()
    again = open_store(disk, None)
    assert len(again.outbox.undelivered(limit=100)) == 3
    again.close()


def test_a_file_system_that_cuts_no_file_when_it_is_full_gets_all_of_it(tmp_path):
    with disk_image("btrfs mixed", tmp_path / "state") as state:
        first = Reserve(state)
        first.take()
        store = open_store(SmallDisk(state), first)
        store.outbox.tell(*events(20))
        store.close()
        SmallDisk(state).fill()
        fill_with_files_to_the_last(state)
        with pytest.raises(StoreError, match="unable to open"):
            open_store(SmallDisk(state), None)

        reserve = Reserve(state)
        store = open_store(SmallDisk(state), reserve)

        store.outbox.tell(*events(1))
        assert len(store.outbox.undelivered(limit=100)) == 21
        assert reserve.held_bytes == 0
        store.close()


def test_nothing_of_the_database_is_mapped_where_a_full_disk_ends_who_writes_to_memory(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(database_file, "BUSY_TIMEOUT_S", 0.1)
    with disk_image("btrfs", tmp_path / "state") as state:
        store = open_store(SmallDisk(state), None)
        store.outbox.tell(*events(1))

        assert [one.name for one in state.glob("agent.db-*")] == ["agent.db-wal"]
        with pytest.raises(StoreError, match="an agent is running with it"):
            Store.open_read_only(state / "agent.db", clock=VirtualClock(), boot_id="boot")
        store.close()
        beside = Store.open_read_only(state / "agent.db", clock=VirtualClock(), boot_id="boot")
        assert len(beside.outbox.undelivered(limit=100)) == 1
        beside.close()


def fill_with_files_to_the_last(folder):
    for number in range(100_000):
        try:
            (folder / f"empty-{number}").touch()
        except OSError:
            return
