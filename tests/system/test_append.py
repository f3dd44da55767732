"""A log that is written on after it was sent (`[watch] append`), by the real programs."""

from __future__ import annotations

import os

import pytest

from ingest_server.uploads.copying import COPY_BYTES
from tests.support.processes import wait_for
from tests.support.recordings import MB
from tests.support.site import site
from tests.support.small_disk import small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LOG = os.urandom(3 * MB)
TAIL = os.urandom(100_000)
BESIDE = 100_000
"""What requests, and reports to the server, take beside the bytes of recordings."""


def write_on(here, data):
    with (here.agent.media / "log.csv").open("ab") as log:
        log.write(data)


def finish(here, count):
    here.agent.run("upload", "--finished", str(here.agent.media / "log.csv"))
    here.wait_until_published(count)


def contents(here):
    return sorted((one.read_bytes() for one in here.server.published_files()), key=len)


def test_only_what_is_new_goes_over_the_link_and_each_content_is_published(tmp_path):
    with site(tmp_path, watch={"append": ["*.csv"]}) as here:
        here.agent.start()
        write_on(here, LOG)
        finish(here, 1)
        before = here.link.sent
        for number in range(2):
            write_on(here, TAIL)
            finish(here, number + 2)

        assert here.link.sent - before - 2 * len(TAIL) in range(BESIDE)
        assert contents(here) == [LOG + number * TAIL for number in range(3)]


@pytest.mark.nightly
def test_a_kill_of_both_programs_costs_at_most_what_was_under_way(tmp_path):
    with site(tmp_path, watch={"append": ["*.csv"]}, upload={"max_rate": "1MB"}) as here:
        here.agent.start()
        write_on(here, LOG[:MB])
        finish(here, 1)
        before = here.link.sent
        write_on(here, LOG[MB:])
        here.agent.run("upload", "--finished", str(here.agent.media / "log.csv"))
        wait_for(lambda: here.link.sent - before > MB, "the rest is under way")
        here.agent.kill()
        here.server.kill()
        write_on(here, TAIL)
        here.server.start()
        here.agent.start()
        here.agent.run("upload", "--finished", str(here.agent.media / "log.csv"))
        wait_for(lambda: LOG + TAIL in contents(here), "all of it is published")

        assert here.link.sent - before < len(LOG[MB:] + TAIL) + 2 * MB
        assert contents(here)[0] == LOG[:MB]


@pytest.mark.nightly
def test_a_disk_that_is_full_in_the_middle_of_the_copy_costs_no_byte_and_no_wrong_file(tmp_path):
    log = os.urandom(24 * MB)
    with small_disk(tmp_path / "disk", size="64m") as disk:
        server = {"data_dir": disk.path / "data", "limits": {"min_free": "1MiB"}}
        with site(tmp_path, server=server, watch={"append": ["*.csv"]}) as here:
            here.agent.start()
            write_on(here, log)
            finish(here, 1)
            before = here.link.sent
            disk.fill()
            ballast = disk.path / "ballast"
            os.truncate(ballast, ballast.stat().st_size - 20 * MB)
            write_on(here, TAIL)
            here.agent.run("upload", "--finished", str(here.agent.media / "log.csv"))
            here.agent.wait_until_blocked_by("server_full")
            copied = here.server.open_uploads(here.agent.token)
            at_first = contents(here)
            disk.make_room()
            here.agent.stop()
            here.agent.start()  # the agent need not sit out the wait that the server asked for
            here.wait_until_published(2)

            assert copied == {"log.csv": 2 * COPY_BYTES}
            assert at_first == [log]
            assert contents(here) == [log, log + TAIL]
            assert here.link.sent - before - len(TAIL) in range(BESIDE)
