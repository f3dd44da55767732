"""The agent is installed on a device whose only card its recorder has filled: what is on it arrives."""

import os

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.site import site
from tests.support.small_disk import small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

QUICK = {"settle_seconds": 0.5, "scan_interval_seconds": 1.0}


def record(folder, count):
    folder.mkdir(exist_ok=True)
    digests = {}
    for number in range(count):
        path = folder / f"{number}.mp4"
        path.write_bytes(os.urandom(1_000_000))
        digests[path.name] = sha256(path)
    return digests


def leave(disk, length):
    """Fill *disk* but for *length* bytes."""
    disk.fill()
    ballast = disk.path / "ballast"
    os.truncate(ballast, ballast.stat().st_size - length)


def problems(here):
    return here.agent.state_if_any().get("problems", ())


def test_where_nothing_can_be_written_all_is_sent_and_nothing_let_go_before_there_is_room(tmp_path):
    with (
        small_disk(tmp_path / "device", size="20M") as disk,
        site(tmp_path, retention={"delete": "after_verified"}, watch=QUICK) as here,
    ):
        media = tmp_path / "device" / "media"
        digests = record(media, 2)
        leave(disk, 0)
        here.agent.start()
        here.wait_until_published(2)
        wait_for(lambda: here.agent.state()["state"] == "idle", "all is verified")
        full = problems(here)
        here.agent.kill()
        here.agent.start()  # what it knew is gone; the server is asked
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it has asked")
        wait_for(lambda: here.agent.state()["totals"]["files_done"] == 2, "they are verified again")
        kept = sorted(path.name for path in media.iterdir())
        sent_again = here.agent.state()["totals"]["bytes_sent"]

        disk.make_room()
        wait_for(lambda: not list(media.iterdir()), "they are let go")
        wait_for(lambda: "state_full" not in problems(here), "nothing is wrong any more")

        assert "state_full" in full
        assert kept == sorted(digests)
        assert sent_again == 0
        assert here.published_digests() == digests
        assert (tmp_path / "device" / "state" / "agent.db").stat().st_size > 0


@pytest.mark.nightly
def test_where_little_is_left_it_makes_room_by_itself(tmp_path):
    with (
        small_disk(tmp_path / "device", size="20M") as disk,
        site(tmp_path, retention={"delete": "after_verified"}, watch=QUICK) as here,
    ):
        media = tmp_path / "device" / "media"
        digests = record(media, 3)
        leave(disk, 700_000)

        here.agent.start()
        wait_for(lambda: not list(media.iterdir()), "all is sent and let go", 60.0)

        assert here.published_digests() == digests
