"""Recorders that keep a ring of files by renames, on a link that is slower than they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.site import Site, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SLOTS, SEGMENTS, SEGMENT_BYTES, EVERY_S = 4, 16, 150_000, 1.0


def put(media: Path, name: str, content: bytes) -> None:
    aside = media / ".next"
    aside.write_bytes(content)
    aside.replace(media / name)


def moved_on(media: Path, number: int, content: bytes) -> None:
    for slot in reversed(range(min(number, SLOTS - 1))):
        (media / f"seg_{slot}.mp4").replace(media / f"seg_{slot + 1}.mp4")
    put(media, "seg_0.mp4", content)


def replaced(media: Path, number: int, content: bytes) -> None:
    put(media, f"seg_{number % SLOTS}.mp4", content)


def moved_out(media: Path, number: int, content: bytes) -> None:
    put(media, f"seg_{number:02}.mp4", content)
    if number >= SLOTS:
        (media / ".trash").mkdir(exist_ok=True)
        oldest = media / f"seg_{number - SLOTS:02}.mp4"
        oldest.replace(media / ".trash" / oldest.name)


def recycled(media: Path, number: int, content: bytes) -> None:
    now = media / f"seg_{number:02}.mp4"
    if number >= SLOTS:
        (media / f"seg_{number - SLOTS:02}.mp4").replace(now)
    now.write_bytes(content)


def has_settled(here: Site, times: int) -> bool:
    return sum(one.get("event") == "upload.settled" for one in here.agent.log()) >= times


def test_names_that_are_moved_on_faster_than_anybody_looks_are_followed(tmp_path):
    with site(tmp_path, watch={"settle_seconds": 0.2}, upload={"max_rate": "100KB"}) as here:
        here.agent.start()
        here.agent.state()
        for number in range(SEGMENTS):
            moved_on(here.agent.media, number, os.urandom(SEGMENT_BYTES))
            time.sleep(EVERY_S / 3)
        wait_for(lambda: here.agent.state_if_any().get("queue", {}).get("files") == 0, "all", 90)

        totals = here.agent.state()["totals"]
        assert totals["files_failed"] == 0
        assert totals["files_done"] + totals["files_overwritten"] == SEGMENTS
        assert len(set(map(sha256, here.server.published_files()))) == totals["files_done"]


@pytest.mark.nightly
@pytest.mark.parametrize("ring", [moved_on, replaced, moved_out, recycled])
def test_every_recording_that_was_finished_is_published_or_counted(
    tmp_path, ring: Callable[[Path, int, bytes], None]
):
    with site(tmp_path, watch={"settle_seconds": 0.2}, upload={"max_rate": "50KB"}) as here:
        here.agent.start()
        here.agent.state()
        for number in range(SEGMENTS):
            ring(here.agent.media, number, os.urandom(SEGMENT_BYTES))
            wait_for(partial(has_settled, here, number + 1), "it is finished")
            time.sleep(EVERY_S)
        wait_for(lambda: here.agent.state_if_any().get("queue", {}).get("files") == 0, "all", 60)

        totals = here.agent.state()["totals"]
        published = set(map(sha256, here.server.published_files()))
        assert len(published) == totals["files_done"]
        assert totals["files_failed"] == 0
        assert totals["files_done"] + totals["files_overwritten"] == SEGMENTS
