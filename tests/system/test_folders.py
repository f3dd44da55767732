"""Several watched folders of one agent: what lies in each arrives, and what is wrong with one is said for it."""

import json
import os
import signal
import sqlite3
import subprocess

import pytest

from tests.support.processes import Agent, wait_for
from tests.support.recordings import sha256
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

BY_FOLDER = {"server": {"name_template": "{folder}/{name}"}}
QUICK = {"settle_seconds": 0.5, "scan_interval_seconds": 1.0}


def two(tmp_path, **more):
    """Return the tables of a front and a rear camera."""
    return [
        {"name": name, "folder": tmp_path / name, **QUICK, **more} for name in ("front", "rear")
    ]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content * 50_000)
    return path


def run(agent, *arguments):
    command = [*agent.program, *arguments, "--config", agent.config]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def rows(here):
    return {one["name"]: one for one in here.agent.state_if_any().get("folders", ())}


def acknowledged(here, name):
    """Return how many bytes of a recording the server has said that it has."""
    return here.server.open_uploads(here.agent.token).get(name, 0)


def published(here):
    """Return place and digest of each published file."""
    top = here.server.published
    return {str(path.relative_to(top)): sha256(path) for path in here.server.published_files()}


def told_metadata(here):
    """Return folder -> the folder's name among what the server was told."""
    found = sqlite3.connect(here.server.data_dir / "state.db").execute(
        "SELECT folder, metadata FROM uploads"
    )
    return {folder: json.loads(metadata)["watch"] for folder, metadata in found}


def test_the_same_name_in_two_folders_is_two_recordings_and_status_shows_both(tmp_path):
    front = write(tmp_path / "front" / "DCIM" / "A.MP4", b"front")
    rear = write(tmp_path / "rear" / "DCIM" / "A.MP4", b"rear")
    with site(tmp_path, server=BY_FOLDER) as here:
        here.agent.configure(watch=two(tmp_path))
        here.agent.start()
        here.wait_until_published(2)

        wait_for(lambda: rows(here)["rear"]["queue"]["files"] == 0, "both are verified")
        page = here.agent.run("status")

        assert published(here) == {
            "front/DCIM/A.MP4": sha256(front),
            "rear/DCIM/A.MP4": sha256(rear),
        }
        assert told_metadata(here) == {"front/DCIM": "front", "rear/DCIM": "rear"}
        assert {row["folder"] for row in here.agent.status()["files"]} == {
            "front/DCIM",
            "rear/DCIM",
        }
        assert "front: 0 files waiting, 0 B" in page
        assert "rear: 0 files waiting, 0 B" in page


def test_a_reload_adds_a_folder_and_leaves_one_whose_recordings_are_sent_and_never_deleted(
    tmp_path,
):
    kept = write(tmp_path / "front" / "A.MP4", b"front")
    front, rear = two(tmp_path)
    with site(tmp_path, server=BY_FOLDER, retention={"delete": "after_verified"}) as here:
        here.agent.configure(watch=[front])
        here.agent.start()
        wait_for(lambda: not kept.exists(), "what is verified is deleted")

        here.agent.run("pause")
        kept = write(tmp_path / "front" / "B.MP4", b"kept")
        wait_for(lambda: rows(here)["front"]["queue"]["files"] == 1, "it is found")
        write(tmp_path / "rear" / "A.MP4", b"rear")
        here.agent.configure(watch=[rear])
        os.kill(here.agent.pid, signal.SIGHUP)
        wait_for(lambda: set(rows(here)) == {"rear"}, "the other folder is watched")
        here.agent.run("resume")
        wait_for(lambda: set(published(here)) >= {"rear/A.MP4", "front/B.MP4"}, "both are sent")
        wait_for(lambda: not (tmp_path / "rear" / "A.MP4").exists(), "what is watched goes")
        states = {row["name"]: row["state"] for row in here.agent.status()["files"]}

        assert kept.exists()
        assert states["B.MP4"] == "kept"
        assert here.agent.state()["queue"]["files"] == 0


def test_a_folder_without_its_card_holds_up_no_other_and_is_said_by_name(tmp_path):
    with site(tmp_path, server=BY_FOLDER) as here:
        write(tmp_path / "rear" / "A.MP4", b"rear")
        here.agent.configure(watch=two(tmp_path))
        here.agent.start()
        here.wait_until_published(1)
        wait_for(lambda: here.agent.state()["state"] == "idle", "it is verified, and nothing waits")
        state = here.agent.state()

        assert state["blocked_by"] is None
        assert state["problems"].count("source_missing") == 1
        assert rows(here)["front"]["blocked_by"] == "source_missing"
        assert rows(here)["front"]["blocked_detail"].startswith(
            "front: the watched folder is not there"
        )
        assert rows(here)["rear"]["blocked_by"] is None
        assert "front: 0 files waiting, 0 B; source_missing: front: the watched" in here.agent.run(
            "status"
        )

        write(tmp_path / "front" / "A.MP4", b"front")
        wait_for(lambda: "front/A.MP4" in published(here), "its card is in")


def test_folders_with_files_in_common_are_refused_in_a_sentence(tmp_path):
    (tmp_path / "front" / "DCIM").mkdir(parents=True)
    (tmp_path / "rear").symlink_to(tmp_path / "front" / "DCIM")
    agent = Agent(tmp_path / "device", url="http://127.0.0.1:9", token=None)
    agent.configure(watch=two(tmp_path))

    done = run(agent, "check")

    assert done.returncode == 78
    assert (
        f"[[watch]] rear: folder: {tmp_path}/rear lies in the folder of 'front', {tmp_path}/front: its"
        " recordings would be sent twice; watch the outer one alone, or folders beside each other"
    ) in done.stderr


def test_what_is_wanted_now_goes_before_a_large_one_which_goes_on_where_it_was(tmp_path):
    with site(
        tmp_path, server=BY_FOLDER, upload={"max_rate": "1MB", "request_seconds": 1.0}
    ) as here:
        here.agent.configure(watch=two(tmp_path))
        large = write(tmp_path / "front" / "large.mp4", bytes(range(256)) * 2)  # 25.6 MB
        here.agent.start()
        wait_for(lambda: acknowledged(here, "large.mp4") > 0, "some of it has arrived")
        write(tmp_path / "rear" / "other.mp4", b"other")
        wanted = write(tmp_path / "rear" / "wanted.mp4", b"wanted")

        here.agent.run("now", str(wanted))
        wait_for(lambda: "rear/wanted.mp4" in published(here), "it has arrived")
        assert set(published(here)) == {"rear/wanted.mp4"}
        had = acknowledged(here, "large.mp4")

        here.agent.configure(upload={"max_rate": 0})
        os.kill(here.agent.pid, signal.SIGHUP)
        here.wait_until_published(3)
        wait_for(lambda: here.agent.state()["queue"]["files"] == 0, "all is verified")

        assert had > 0
        assert published(here)["front/large.mp4"] == sha256(large)
        assert here.agent.state()["totals"]["bytes_resent"] == 0
