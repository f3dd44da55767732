from ingest_server.storage.reserve import RESERVE_BYTES, Reserve
from tests.support.small_disk import small_disk


def test_the_reserve_takes_its_bytes_from_the_disk_and_gives_them_back(tmp_path):
    with small_disk(tmp_path / "disk", size="40m") as disk:
        reserve = Reserve(disk.path)

        assert reserve.keep()
        assert reserve.keep()
        assert (disk.path / "reserve").stat().st_blocks * 512 == RESERVE_BYTES
        disk.fill()
        assert reserve.give_up()
        assert not reserve.give_up()
        assert not (disk.path / "reserve").exists()


def test_a_disk_that_has_room_keeps_its_reserve(tmp_path):
    with small_disk(tmp_path / "disk", size="40m") as disk:
        reserve = Reserve(disk.path)
        assert reserve.keep()

        assert not reserve.give_up()

        assert (disk.path / "reserve").exists()


def test_a_disk_that_has_little_left_is_not_taken_a_reserve_from_until_it_has_room(tmp_path):
    with small_disk(tmp_path / "disk", size="40m") as disk:
        disk.fill()
        reserve = Reserve(disk.path)

        assert not reserve.keep()
        disk.make_room()
        assert reserve.keep()
