"""A card of each kind that is full to its last byte, state and recordings on it: nobody has to come."""

import contextlib
import os

import pytest

from tests.support.file_systems import MIB, disk_image
from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KINDS = [
    "btrfs mixed",
    *(pytest.param(kind, marks=pytest.mark.nightly) for kind in ("btrfs", "ext4", "xfs")),
]
SIZE = 200 * MIB
"""Enough for something to be held back, on each kind."""
FREES = {"delete": "after_verified"}


@contextlib.contextmanager
def device(folder, kind):
    """An agent with all of its own on a small card, and its log elsewhere."""
    with disk_image(kind, folder / "device", size=SIZE), site(folder, retention=FREES) as here:
        here.agent.folder = folder / "logs"
        here.agent.folder.mkdir()
        yield here


def fill(media):
    """Record until no byte more can be written; return the digests."""
    for length in (8_000_000, 100_000):
        number = 0
        with contextlib.suppress(OSError):
            while True:
                (media / f"{length}-{number}.mp4").write_bytes(os.urandom(length))
                number += 1
    for path in media.iterdir():
        if not path.stat().st_size:  # an empty one is waited for, for a minute
            path.unlink()
    return {path.name: sha256(path) for path in media.iterdir()}


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_card_is_sent_and_freed_by_the_next_start(kind, end, tmp_path):
    with device(tmp_path, kind) as here:
        here.agent.start()
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it is up", 60.0)
        getattr(here.agent, end)()
        digests = fill(here.agent.media)

        here.agent.start()
        here.wait_until_published(len(digests))
        wait_for(lambda: not list(here.agent.media.iterdir()), "all is let go", 60.0)

        assert here.published_digests() == digests
        assert here.agent.state()["totals"]["files_done"] == len(digests)


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_start_on_a_full_card_sends_all_and_goes_on_once_a_person_makes_room(
    kind, tmp_path
):
    with device(tmp_path, kind) as here:
        here.agent.state_dir.mkdir(mode=0o700)  # as systemd, a package or an image makes it
        ballast = tmp_path / "device" / "ballast"
        ballast.write_bytes(bytes(16_000_000))
        digests = fill(here.agent.media)

        here.agent.start()
        here.wait_until_published(len(digests))
        kept = {path.name for path in here.agent.media.iterdir()}
        ballast.unlink()
        wait_for(lambda: not list(here.agent.media.iterdir()), "all is let go", 60.0)

        assert kept == set(digests)
        assert here.published_digests() == digests
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it can be asked", 60.0)
