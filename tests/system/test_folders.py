"""Several watched folders of one agent: what lies in each arrives, and what is wrong with one is said for it."""

import pytest

from tests.support.processes import wait_for
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


def rows(here):
    return {one["name"]: one for one in (here.agent.state() or {}).get("folders", ())}


def published(here):
    """Return place and digest of each published file."""
    top = here.server.published
    return {str(path.relative_to(top)): sha256(path) for path in here.server.published_files()}


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
        assert {row["folder"] for row in here.agent.status()["files"]} == {
            "front/DCIM",
            "rear/DCIM",
        }
        assert "front: 0 files waiting, 0 B" in page
        assert "rear: 0 files waiting, 0 B" in page
