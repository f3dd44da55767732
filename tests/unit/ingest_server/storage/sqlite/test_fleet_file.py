"""The file of the fleet: nothing that befalls it is a reason to stop."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from ingest_server.core.errors import StateError, StateFailed
from ingest_server.storage.interface import CommandRecord, DeviceEvent
from ingest_server.storage.sqlite.fleet import SqliteFleet


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "fleet.db"
    fleet = SqliteFleet(found)
    fleet.save({"drone-1": b"{}"}, {("drone-1", "info"): b"i" * 100_000})
    fleet.close()
    return found


def test_a_damaged_file_is_set_aside_and_begun_anew(path):
    path.write_bytes(b"this is no database" * 1000)

    fleet = SqliteFleet(path)

    assert fleet.devices() == []
    assert fleet.generation == 1
    assert path.with_name("fleet.db.damaged-1").read_bytes().startswith(b"this is no database")
    fleet.save({"drone-2": b"{}"}, {})
    fleet.close()
    with closing(SqliteFleet(path)) as again:
        assert [one.device for one in again.devices()] == ["drone-2"]


def test_a_file_that_is_damaged_while_it_is_used_is_begun_anew_too(path):
    fleet = SqliteFleet(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 200_000)

    fleet.save({"drone-2": b"{}"}, {("drone-1", "info"): b"again"})

    assert [one.device for one in fleet.devices()] == ["drone-1", "drone-2"]
    assert fleet.generation == 1
    assert path.with_name("fleet.db.damaged-1").exists()
    fleet.close()


def test_a_file_of_a_newer_version_is_set_aside_unchanged(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    fleet = SqliteFleet(path)

    assert fleet.devices() == []
    fleet.close()
    with closing(sqlite3.connect(path.with_name("fleet.db.damaged-1"))) as connection:
        assert connection.execute("SELECT count(*) FROM devices").fetchone() == (1,)


def test_a_second_damaged_file_does_not_take_the_place_of_the_first(path):
    for number in (1, 2):
        path.write_bytes(b"damage %d" % number * 1000)
        SqliteFleet(path).close()

    assert path.with_name("fleet.db.damaged-1").read_bytes().startswith(b"damage 1")
    assert path.with_name("fleet.db.damaged-2").read_bytes().startswith(b"damage 2")


def test_a_command_beside_the_server_sets_nothing_aside(path):
    path.write_bytes(b"this is no database" * 1000)

    with pytest.raises(StateError, match=r"fleet\.db"):
        SqliteFleet(path, begins_anew=False)

    assert not path.with_name("fleet.db.damaged-1").exists()


def test_a_folder_that_cannot_be_had_is_told_as_such(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StateError, match="cannot open"):
        SqliteFleet(tmp_path / "file" / "fleet.db")


def test_a_failed_write_leaves_what_was_there(path):
    fleet = SqliteFleet(path)
    command = CommandRecord("c1", "drone-1", "pause", {}, "t", "t", "operator")
    fleet.put_command(command)

    with pytest.raises(StateFailed):
        fleet._file.write(
            lambda one: [one.execute(sql) for sql in ("DELETE FROM commands", "nonsense")]
        )

    assert fleet.commands("drone-1") == [command]
    fleet.close()


def test_what_a_person_asked_for_is_synced_and_what_a_device_says_is_not(path):
    fleet = SqliteFleet(path)
    seen = []

    def level(connection):
        seen.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    fleet._file.write(level)
    fleet._file.write(level, is_durable=True)
    fleet._file.write(level)

    normal, full = 1, 2
    assert seen == [normal, full, normal]
    fleet.close()


def test_what_happened_on_a_device_is_on_disk_before_the_device_forgets_it(path):
    fleet = SqliteFleet(path)
    steps: list[Any] = []
    fleet._file._connection.set_trace_callback(steps.append)

    fleet.add_events([DeviceEvent("drone-1", "e1", "agent.started", "2026-11-29T00:00:00Z", b"{}")])

    assert steps.index("PRAGMA synchronous = FULL") < steps.index("COMMIT")
    fleet.close()
