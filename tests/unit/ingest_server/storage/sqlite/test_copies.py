"""Copies of the database: each day one, whole, three at most, and never in anybody's way."""

import sqlite3
import threading
from contextlib import closing

import pytest

from ingest_server.storage.sqlite import copies
from ingest_server.storage.sqlite.copies import EVERY_S, fault_in
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.support.core_site import InThread

NOON = 1_800_000_000.0


@pytest.fixture
def state(tmp_path):
    found = SqliteState.open(tmp_path / "state.db")
    found.run(lambda transaction: transaction.set_uptime(1000.0))
    yield found
    found.close()


def keep(state, uptime_s=1000.0, *, wall_s=None, least_free=0, wait=lambda _: False) -> bool:
    newest = next(state.copies.all(), None)
    at = newest.stat().st_mtime if wall_s is None and newest else wall_s or NOON
    return state.keep_copy(uptime_s, at, least_free, wait)


def note(state, value: str) -> None:
    state.run(lambda transaction: transaction.write_note("a" * 32, "n", value))


def noted(copy) -> str:
    with closing(sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute("SELECT value FROM notes").fetchone()[0]


def day_after(state, days: int = 1) -> float:
    now_s = 1000.0 + days * EVERY_S
    state.run(lambda transaction: transaction.set_uptime(now_s))
    return now_s


def test_a_copy_is_made_at_once_and_then_each_day_of_running(state):
    assert keep(state)
    assert not keep(state, 1000.0 + EVERY_S - 1)
    assert keep(state, 1000.0 + EVERY_S)


def test_a_server_that_runs_an_hour_a_day_gets_a_copy_each_day_too(state):
    keep(state)
    [copy] = state.copies.all()
    made_at = copy.stat().st_mtime

    assert not keep(state, 1000.0 + 7200, wall_s=made_at + EVERY_S - 1)
    assert keep(state, 1000.0 + 7200, wall_s=made_at + EVERY_S)


def test_the_newest_three_are_kept_and_each_is_one_whole_file(state, tmp_path):
    for day in range(5):
        note(state, f"day {day}")
        assert keep(state, day_after(state, day))

    assert [noted(one) for one in state.copies.all()] == ["day 4", "day 3", "day 2"]
    assert [one.name for one in state.copies.all()] == [f"state.db.copy-{n}" for n in (1, 2, 3)]
    assert {one.name for one in tmp_path.iterdir() if "cop" in one.name} == {
        one.name for one in state.copies.all()
    }
    for one in state.copies.all():
        assert one.stat().st_mode & 0o777 == 0o640


def test_a_copy_is_of_one_moment_though_others_commit_at_each_step(state):
    state.run(
        lambda transaction: [
            transaction.write_note(f"{n:032x}", "n", "x" * 4000) for n in range(2000)
        ]
    )
    note(state, "before")
    steps = []

    def wait(_: float) -> bool:
        steps.append(1)
        note(state, f"step {len(steps)}")
        return False

    assert keep(state, wait=wait)

    [copy] = state.copies.all()
    assert 5 < len(steps) < 50  # begun anew by nobody's commit
    assert noted_of(copy, "a" * 32) == "before"


def noted_of(copy, upload_id: str) -> str:
    with closing(sqlite3.connect(copy)) as connection:
        row = connection.execute("SELECT value FROM notes WHERE upload_id = ?", [upload_id])
        return row.fetchone()[0]


def test_a_stop_ends_a_copy_and_leaves_no_trace(state, tmp_path):
    assert not keep(state, wait=lambda _: True)

    assert list(state.copies.all()) == []
    assert not list(tmp_path.glob("*copying*"))


def test_a_full_disk_is_one_sentence_and_is_tried_again_in_an_hour(state, capsys):
    assert not keep(state, least_free=1 << 62)
    assert "database.uncopied" in capsys.readouterr().out
    assert not keep(state, 1000.0 + copies.AGAIN_S - 1)
    assert "database.uncopied" not in capsys.readouterr().out

    assert keep(state, 1000.0 + copies.AGAIN_S)


def test_a_damaged_database_takes_no_good_copys_place(state, tmp_path, capsys):
    state.run(
        lambda transaction: [
            transaction.write_note(f"{n:032x}", "n", "x" * 4000) for n in range(200)
        ]
    )
    keep(state)
    [good] = state.copies.all()
    before = good.read_bytes()
    with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "state.db").open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xff" * 4096 * 20)

    assert not keep(state, day_after_unread())

    assert "damaged" in capsys.readouterr().out
    assert [one.read_bytes() for one in state.copies.all()] == [before]


def day_after_unread() -> float:
    return 1000.0 + EVERY_S


def test_looking_for_damage_can_be_given_up(state):
    with closing(sqlite3.connect(state.path)) as connection:
        assert fault_in(connection, lambda: True) is None


def test_others_write_while_a_copy_rests(state):
    resting, go_on = threading.Event(), threading.Event()

    def wait(_: float) -> bool:
        resting.set()
        return not go_on.wait(10)

    copying = InThread(lambda: keep(state, wait=wait))
    assert resting.wait(10)
    note(state, "meanwhile")
    go_on.set()

    assert copying.join()
