"""The watched folder lies on a file system of which the kernel cannot tell who writes to it."""

import os

import pytest

from tests.support.file_systems import fuse
from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


def test_L2_a_recording_that_is_written_unseen_is_not_deleted_under_its_recorder(tmp_path):
    below = tmp_path / "below"
    with (
        fuse(tmp_path / "device" / "media", below=below),
        site(
            tmp_path,
            watch={"fallback_settle_seconds": 8.0},
            retention={"delete": "after_verified"},
        ) as here,
        (below / "flight.mp4").open("wb", buffering=0) as recorder,
    ):
        recorder.write(os.urandom(50_000))
        here.agent.start()

        def is_said(what):
            if not here.agent.state_if_any():
                return False
            return [what in (row["detail"] or "") for row in here.agent.status()["files"]] == [True]

        # Quiet for the settle time, and the kernel says that nobody has it open for writing.
        wait_for(
            lambda: is_said("it must be quiet for 8 s"),
            "it was asked about, and is not taken for finished",
        )
        recorder.write(os.urandom(50_000))
        status = here.agent.status()
        published_early = here.server.published_files()
        recorder.close()
        digest = sha256(below / "flight.mp4")
        here.wait_until_published(1)
        wait_for(
            lambda: is_said("deleted once it was quiet for 10 minutes"), "it is not yet let go"
        )

        assert (below / "flight.mp4").exists()
        assert published_early == []
        assert here.published_digests() == {"flight.mp4": digest}
        [limit] = status["limits"]
        assert "recordings lie on FUSE" in limit
        assert "set fallback_settle_seconds above the recorder's longest pause" in limit
