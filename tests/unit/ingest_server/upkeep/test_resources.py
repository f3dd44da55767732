"""What can run out has a bound, and whoever runs the server hears of it before it is reached."""

import os
import subprocess
import sys
from typing import Any

import pytest

from ingest_server.core import events
from ingest_server.storage.interface import Level
from ingest_server.upkeep.housekeeper import LOG_CUT_BYTES
from ingest_server.upkeep.resources import LOG_BYTES, Resource, Resources, usual
from tests.support.events import of_types
from tests.support.present import present

READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM uploads").fetchall()
print("reading", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def reader(site):
    """Another program that reads the database and does not end."""
    command = [sys.executable, "-c", READER, str(site.data_dir / "state.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert present(process.stdout).readline() == b"reading\n"
        yield process
        present(process.stdin).close()


def told(site) -> list[tuple[str, str, dict[str, Any]]]:
    site.state.outbox.take_in("ops", of_types(events.RESOURCE))
    found = [one.event for one in site.state.outbox.listing()]
    return [(one.type, one.subject, one.data) for one in found]


def write(site, size: int) -> None:
    for number in range(size // (1 << 20)):
        site.state.run(lambda rows, n=number: rows.write_note("upload", str(n), "x" * (1 << 20)))


@pytest.mark.slow
def test_a_log_that_a_reader_holds_is_told_of_and_cut_once_the_reader_has_gone(site, reader):
    site.state.outbox.register("ops")
    resources = Resources(site.state, usual(site.state, site.blobs, lambda: 0, 1))
    write(site, LOG_BYTES)

    held = site.housekeeper.cut_log()
    assert resources.look() == ["database-log"]
    assert resources.look() == ["database-log"]
    reader.stdin.close()
    reader.wait(20)
    cut = site.housekeeper.cut_log()
    assert resources.look() == []

    [(scarce, subject, data), (recovered, _, _)] = told(site)
    assert (held > LOG_BYTES, cut < LOG_CUT_BYTES) == (True, True)
    assert (scarce, recovered) == (events.RESOURCE_SCARCE, events.RESOURCE_RECOVERED)
    assert (subject, data["resource"], data["bound"]) == ("database-log",) * 2 + (LOG_BYTES,)
    assert f"(pid {reader.pid})" in data["detail"]


def test_a_commit_waits_for_no_reader_while_the_log_is_held(site, reader):
    write(site, 2 * LOG_CUT_BYTES)

    held = site.housekeeper.cut_log()
    write(site, 1 << 20)

    assert held > LOG_CUT_BYTES
    assert site.state.note("upload", "0") is not None


def test_nobody_reads_a_database_that_is_left_alone(site):
    write(site, 1 << 20)

    assert site.state.held_by() == []


def test_each_way_is_told_once_and_not_again_after_a_restart(site):
    site.state.outbox.register("ops")
    level = [50]
    watched = [Resource("seats", lambda: Level(level[0], 100), lambda: "make room")]

    found = []
    for used in (89, 90, 100, 80, 75, 74, 89):
        level[0] = used
        # Each time as after a restart: what was told last is in the outbox.
        found.append(Resources(site.state, watched).look())

    assert found == [[], ["seats"], ["seats"], ["seats"], ["seats"], [], []]
    assert [(kind, data["used"]) for kind, _, data in told(site)] == [
        (events.RESOURCE_SCARCE, 90),
        (events.RESOURCE_RECOVERED, 74),
    ]


def test_what_cannot_be_read_hides_nothing_else(site):
    def fails() -> Level:
        raise OSError(5, "no")

    watched = [
        Resource("broken", fails, str),
        Resource("endless", lambda: None, str),
        Resource("full", lambda: Level(1, 1), lambda: "why"),
    ]

    assert Resources(site.state, watched).look() == ["full"]


def test_all_that_can_run_out_is_watched(site):
    watched = usual(site.state, site.blobs, lambda: 3, 256, 1000)

    levels = Resources(site.state, watched).levels()

    names = {"database-log", "inodes", "descriptors", "upload-threads", "outbox"}
    assert {one.name for one in watched} == names
    assert levels.keys() >= names - {"inodes"}
    assert levels["upload-threads"] == Level(3, 256)
    assert levels["descriptors"].bound == 1000
    assert 0 < levels["descriptors"].used <= len(os.listdir("/proc/self/fd")) + 1
    assert all(len(one.means()) > 60 for one in watched)


def test_what_is_free_inside_the_database_goes_back_to_the_disk_in_steps(site):
    write(site, 32 << 20)
    site.state.run(lambda rows: rows.write("DELETE FROM notes"))

    steps = [site.housekeeper.give_back() for _ in range(12)]

    assert all(2 << 20 <= one <= (2 << 20) + 8192 for one in steps[:8])  # a page of its own map too
    assert steps[-1] == 0
    assert site.state.sizes().free < 16 << 20
