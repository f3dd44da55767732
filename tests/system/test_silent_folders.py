"""A file system that answers nothing any more, a dead server's, holds up nothing but what lies on it."""

import os
import signal
import subprocess

import pytest

from tests.support.file_systems import fuse_that_falls_silent
from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BY_FOLDER = {"server": {"name_template": "{folder}/{name}"}}
QUICK = {"settle_seconds": 0.5, "fallback_settle_seconds": 1.0, "scan_interval_seconds": 1.0}


def folders(base, *names):
    return [{"name": name, "folder": base / name, **QUICK} for name in names]


def write(path, size=100_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return sha256(path)


def rows(here):
    return {one["name"]: one for one in here.agent.state_if_any().get("folders", ())}


def published(here):
    top = here.server.published
    return {str(path.relative_to(top)): sha256(path) for path in here.server.published_files()}


def acknowledged(here, name):
    return here.server.open_uploads(here.agent.token).get(name, 0)


def test_a_folder_that_falls_silent_in_mid_file_holds_up_no_other_and_goes_on_by_itself(tmp_path):
    below = tmp_path / "below"
    digest = write(below / "large.mp4", 8_000_000)
    tables = {"upload": {"max_rate": "1MB", "request_seconds": 1.0, "max_lanes": 1}}
    with (
        fuse_that_falls_silent(tmp_path / "front", below=below) as front,
        site(tmp_path, server=BY_FOLDER, retention={"delete": "after_verified"}, **tables) as here,
    ):
        (tmp_path / "rear").mkdir()
        here.agent.configure(watch=folders(tmp_path, "front", "rear"))
        here.agent.start()
        wait_for(lambda: acknowledged(here, "large.mp4") > 0, "some of it has arrived")
        front.fall_silent()

        other = write(tmp_path / "rear" / "A.MP4")
        wait_for(lambda: published(here) == {"rear/A.MP4": other}, "what lies elsewhere is sent")
        wait_for(lambda: not (tmp_path / "rear" / "A.MP4").exists(), "and is let go")
        wait_for(lambda: rows(here)["front"]["blocked_by"] == "source_silent", "it is said")
        silent, page = here.agent.state(), here.agent.run("status")

        here.agent.configure(watch=folders(tmp_path, "front", "rear", "side"))
        os.kill(here.agent.pid, signal.SIGHUP)
        third = write(tmp_path / "side" / "B.MP4")
        wait_for(lambda: "side/B.MP4" in published(here), "a folder that is added is watched")
        named = tmp_path / "C.MP4"
        write(named)
        here.agent.run("upload", str(named))
        front.answer()
        wait_for(lambda: "front/large.mp4" in published(here), "it goes on")
        wait_for(lambda: rows(here)["front"]["blocked_by"] is None, "nothing is wrong any more")
        after = here.agent.state()

        assert "source_silent" in silent["problems"]
        assert "front: " in page
        assert f"{front.mount} does not answer: the server or program behind it is gone" in page
        assert published(here)["front/large.mp4"] == digest
        assert published(here)["side/B.MP4"] == third
        assert "source_silent" not in after["problems"]


@pytest.mark.nightly
def test_an_agent_that_starts_and_stops_beside_a_silent_folder_sends_the_others(tmp_path):
    with (
        fuse_that_falls_silent(tmp_path / "front", below=tmp_path / "below") as front,
        site(tmp_path, server=BY_FOLDER) as here,
    ):
        digest = write(tmp_path / "below" / "A.MP4")
        other = write(tmp_path / "rear" / "B.MP4")
        front.fall_silent()
        here.agent.configure(watch=folders(tmp_path, "front", "rear"))
        here.agent.start()
        wait_for(lambda: published(here) == {"rear/B.MP4": other}, "the other one is sent")
        wait_for(lambda: rows(here)["front"]["blocked_by"] == "source_silent", "it is said")

        checked = subprocess.run(
            [*here.agent.program, "check", "--config", here.agent.config],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert checked.returncode == 1
        assert f"FAIL  folder: front: {front.mount} does not answer: the server" in checked.stdout
        assert f"OK    folder: rear: {tmp_path}/rear can be read" in checked.stdout
        assert here.agent.stop() == 0
        here.agent.start()
        front.answer()
        wait_for(lambda: published(here).get("front/A.MP4") == digest, "it goes on")
