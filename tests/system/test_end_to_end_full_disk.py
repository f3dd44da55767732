"""A server whose disk is full says so, keeps what it has, and goes on when there is room."""

import contextlib
import json
import subprocess

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import make_large_recording, make_recording, sha256
from tests.support.requirements import require_root
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

MIB = 2**20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 MiB."""
    require_root()
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def test_a_full_server_is_named_as_the_reason_and_takes_the_recording_when_there_is_room(
    tmp_path, small_disk
):
    server = {"data_dir": small_disk / "data", "limits": {"min_free": "8MiB"}}
    with site(tmp_path, server={**server, "log": {"level": "debug", "format": "json"}}) as here:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(80 * MIB))
        recording = make_large_recording(here.agent.media / "flight.mkv", length=20 * MIB)

        here.agent.start()
        here.agent.wait_until_blocked_by("server_full")
        wait_for(
            lambda: any(line.get("status") == 507 for line in here.server.log()),
            "the server has told of its refusal",
        )
        ballast.unlink()
        here.agent.stop()
        here.agent.start()  # the agent need not sit out the wait that the server asked for
        here.wait_until_published(1)

        assert here.published_digests() == {"flight.mkv": sha256(recording)}


@pytest.mark.parametrize(
    "is_patient",
    [
        pytest.param(False, id="the agent is started again"),
        # It sits out the minute that the server asked for; scenarios/test_orders plays it without waiting.
        pytest.param(True, id="the agent waits", marks=pytest.mark.nightly),
    ],
)
def test_a_disk_that_fills_up_in_the_middle_of_an_upload_costs_no_acknowledged_byte(
    tmp_path, small_disk, is_patient
):
    server = {"data_dir": small_disk / "data", "limits": {"min_free": "8MiB"}}
    with site(tmp_path, server=server, upload={"max_rate": "8MB"}) as here:
        recording = make_large_recording(here.agent.media / "flight.mkv", length=40 * MIB)
        here.agent.start()
        wait_for(lambda: here.link.sent > 10 * MIB, "the upload is under way")

        with (small_disk / "ballast").open("wb") as ballast:
            _fill(ballast)
        here.agent.wait_until_blocked_by("server_full")
        (small_disk / "ballast").unlink()
        if not is_patient:
            here.agent.stop()
            here.agent.start()
        here.wait_until_published(1, 90)

        assert here.published_digests() == {"flight.mkv": sha256(recording)}
        # L4: what did not fit any more, and what was on its way then; never what was acknowledged.
        assert here.link.sent - recording.stat().st_size <= 24 * MIB


def _fill(file):
    piece = bytes(MIB)
    with contextlib.suppress(OSError):
        while True:
            file.write(piece)
            file.flush()


def test_a_full_disk_does_not_make_the_server_forget_what_it_published(tmp_path, small_disk):
    server = {"data_dir": small_disk / "data", "limits": {"min_free": "8MiB"}}
    with site(tmp_path, server=server) as here:
        here.agent.start()
        first = make_recording(here.agent.media / "first.mp4")
        here.wait_until_published(1)
        with (small_disk / "ballast").open("wb") as ballast:
            _fill(ballast)
        make_recording(here.agent.media / "second.mp4")
        here.agent.wait_until_blocked_by("server_full")

        here.server.kill()
        here.agent.stop()
        (small_disk / "ballast").unlink()
        here.server.start()
        here.agent.start()
        here.wait_until_published(2)

        assert here.published_digests()["first.mp4"] == sha256(first)
        assert len(json.loads(here.server.run("list", "--json"))) == 2
