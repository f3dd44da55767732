"""The card under the recordings has faults, at its block device: what can be read is sent, nothing is deleted for them."""

import os
import random
from pathlib import Path

import pytest

from tests.support.broken_card import card
from tests.support.file_systems import read_only_bind
from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.site import Site, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MIB = 2**20
READ_BYTES = 256 * 1024
LETTING_GO = {"delete": "after_verified"}


def record(folder: Path, name: str, length: int = 3 * MIB) -> str:
    """Make a recording; return its digest."""
    path = folder / name
    path.write_bytes(random.Random(name).randbytes(length))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return sha256(path)


def problems(here: Site) -> list[str]:
    return here.agent.state_if_any().get("problems", [])


def arrived(here: Site, name: str) -> int:
    """Return the bytes that the server holds durably of an upload that is not finished."""
    return here.server.open_uploads(here.agent.token).get(name, 0)


def published_once(here: Site, wanted: dict[str, str]) -> bool:
    return here.published_digests() == wanted


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("whole.mp4", id="it is hashed first, since the server has one of its length"),
        pytest.param("bad.mp4", id="it is the first", marks=pytest.mark.nightly),
    ],
)
def test_a_read_error_in_mid_file_holds_up_that_file_alone_and_says_so_until_it_is_mended(
    tmp_path, first
):
    with (
        card(tmp_path / "device" / "media") as broken,
        site(tmp_path, retention=LETTING_GO, priority=[{"match": first, "value": 10}]) as here,
    ):
        media = here.agent.media
        wanted = {"whole.mp4": record(media, "whole.mp4"), "bad.mp4": record(media, "bad.mp4")}
        broken.break_from(media / "bad.mp4", 2 * MIB)
        here.agent.start()
        wait_for(lambda: "source_io" in problems(here), "the fault is said")
        wait_for(lambda: not (media / "whole.mp4").exists(), "the other one is sent and let go")
        row = next(row for row in here.agent.status()["files"] if row["name"] == "bad.mp4")
        early = here.published_digests()
        wait_for(
            lambda: arrived(here, "bad.mp4") >= 2 * MIB - READ_BYTES, "its readable half is safe"
        )
        broken.mend()
        here.agent.run("retry", "--all")
        here.wait_until_published(2)
        wait_for(lambda: not (media / "bad.mp4").exists(), "it is let go, too")

        assert row["reason"] == "source_io" or row["problem"] == "source-unreadable"
        assert "the card may be dying: copy now what can still be read" in row["detail"]
        assert early == {"whole.mp4": wanted["whole.mp4"]}
        assert published_once(here, wanted)


@pytest.mark.nightly
def test_a_verified_recording_that_cannot_be_read_again_is_not_deleted_for_it(tmp_path):
    with card(tmp_path / "device" / "media") as broken, site(tmp_path) as here:
        media = here.agent.media
        digest = record(media, "a.mp4")
        here.agent.start()
        here.wait_until_published(1)
        wait_for(lambda: here.agent.state()["totals"]["files_done"] == 1, "it has the receipt")
        here.agent.stop()
        os.utime(media / "a.mp4")  # by its times alone nobody knows whether it is what was sent
        broken.break_from(media / "a.mp4", MIB)
        here.agent.configure(retention=LETTING_GO)
        here.agent.start()
        wait_for(lambda: "delete_failed" in problems(here), "why it stays is said")
        was_kept = (media / "a.mp4").exists()
        broken.mend()
        wait_for(lambda: not (media / "a.mp4").exists(), "it is read, and let go", 90)

        assert was_kept
        assert published_once(here, {"a.mp4": digest})


@pytest.mark.nightly
def test_a_card_that_becomes_read_only_while_it_is_emptied_keeps_what_is_left_and_goes_on_after(
    tmp_path,
):
    with (
        card(tmp_path / "device" / "media") as broken,
        site(tmp_path, retention=LETTING_GO) as here,
    ):
        media = here.agent.media
        wanted = {name: record(media, name, MIB) for name in ("a.mp4", "b.mp4")}
        broken.remount("ro")
        here.agent.start()
        here.wait_until_published(2)
        wait_for(lambda: "delete_failed" in problems(here), "that they stay is said")
        left = sorted(path.name for path in media.glob("*.mp4"))
        broken.remount("rw")
        wait_for(lambda: not any(media.glob("*.mp4")), "they are let go", 90)
        wait_for(lambda: "delete_failed" not in problems(here), "and nothing is said any more")

        assert left == ["a.mp4", "b.mp4"]
        assert published_once(here, wanted)


@pytest.mark.nightly
def test_a_card_pulled_out_while_it_is_sent_goes_on_where_it_was_when_it_is_back(tmp_path):
    with (
        card(tmp_path / "device" / "media") as broken,
        site(tmp_path, retention=LETTING_GO, upload={"max_rate": "1MB"}) as here,
    ):
        media = here.agent.media
        wanted = {"a.mp4": record(media, "a.mp4", 8 * MIB)}
        broken.forget_cached()
        here.agent.start()
        wait_for(lambda: here.link.sent > MIB, "it is being sent")
        broken.break_all()
        wait_for(
            lambda: {"source_io", "source_missing", "card_absent"} & set(problems(here)),
            "that is said",
        )
        broken.mend()
        here.agent.run("retry", "--all")
        wait_for(lambda: not (media / "a.mp4").exists(), "it is sent and let go", 60)

        assert published_once(here, wanted)
        assert here.link.sent < 10 * MIB, "it went on where it was"


@pytest.mark.nightly
def test_a_card_that_is_pulled_is_what_is_said_not_what_could_not_be_deleted_on_it(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    digest = record(store, "a.mp4", MIB)
    media = tmp_path / "device" / "media"
    with site(tmp_path, retention=LETTING_GO) as here:
        with read_only_bind(store, media):
            here.agent.start()
            wait_for(lambda: "delete_failed" in problems(here), "it cannot be deleted")
        here.agent.wait_until_blocked_by("card_absent")
        wait_for(lambda: "delete_failed" not in problems(here), "the card alone is spoken of")
        with read_only_bind(store, media):
            wait_for(lambda: "delete_failed" in problems(here), "it cannot be deleted yet")

        assert published_once(here, {"a.mp4": digest})
