"""A recording in whose place its recorder puts another one before it is finished, and that was begun (ADR 0051)."""

from __future__ import annotations

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.replacing_recorder import FIRST, MIB, SECOND, digests, recorder
from tests.support.site import Site, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

WANTED = {"while_recording": ["*.*"]}


def held(here: Site) -> int:
    return here.server.open_uploads(here.agent.token or "").get("loop.ts", 0)


def published(here: Site) -> list[str]:
    return sorted(map(sha256, here.server.published_files()))


def told(here: Site, event: str) -> int:
    return sum(one.get("event") == event for one in here.agent.log())


def is_idle(here: Site) -> bool:
    return here.agent.state_if_any().get("state") == "idle"


@pytest.mark.parametrize(
    "way",
    [
        "renamed over",
        pytest.param("deleted", marks=pytest.mark.nightly),
        pytest.param("deleted and written on", marks=pytest.mark.nightly),
    ],
)
def test_what_was_begun_is_read_to_its_end_and_what_has_its_name_is_a_recording_of_its_own(
    tmp_path, way
):
    with site(tmp_path, watch=WANTED) as here, recorder(way, here.agent.media / "loop.ts") as it:
        here.agent.start()
        it.go_on()
        wait_for(lambda: held(here) >= MIB, "a part of the first is at the server")
        it.go_on()
        if way == "deleted and written on":
            wait_for(lambda: held(here) >= MIB and len(here.agent.status()["files"]) == 2, "both")
            it.go_on()
        it.go_on()
        here.wait_until_published(2)
        wait_for(lambda: is_idle(here), "nothing is left")

        end = b"and more" if way == "deleted and written on" else b""
        assert published(here) == digests(FIRST + end, SECOND)
        assert here.server.open_uploads(here.agent.token or "") == {}
        assert told(here, "upload.source_held") == 1
        assert told(here, "upload.overwritten") == 0
        sent = len(FIRST + end + SECOND)
        assert here.link.sent <= sent + 64 * 1024, "no byte went twice"


@pytest.mark.nightly
def test_of_what_is_cut_short_and_begun_anew_in_place_the_server_keeps_what_it_has_and_it_is_said(
    tmp_path,
):
    with (
        site(tmp_path, watch=WANTED) as here,
        recorder("cut short", here.agent.media / "loop.ts") as it,
    ):
        here.agent.start()
        it.go_on()
        wait_for(lambda: held(here) >= 4 * MIB, "the first is at the server")
        it.go_on()
        wait_for(lambda: told(here, "upload.left_at_server"), "it is said")
        it.go_on()
        it.go_on()
        here.wait_until_published(1)
        wait_for(lambda: is_idle(here), "nothing is left")

        assert published(here) == digests(SECOND)
        assert held(here) >= 4 * MIB
        [line] = [one for one in here.agent.log() if one.get("event") == "upload.left_at_server"]
        assert line["detail"].startswith("its recorder cut the file short, or began it anew")


def test_a_power_cut_in_between_gives_up_the_first_and_says_so_once(tmp_path):
    with (
        site(tmp_path, watch=WANTED) as here,
        recorder("deleted", here.agent.media / "loop.ts") as it,
    ):
        here.agent.start()
        it.go_on()
        wait_for(lambda: held(here) >= MIB, "a part of the first is at the server")
        here.agent.kill()
        it.go_on()
        here.agent.start()
        it.go_on()
        here.wait_until_published(1)
        wait_for(lambda: is_idle(here), "nothing is left")
        here.agent.stop()
        here.agent.start()
        wait_for(lambda: is_idle(here), "nothing comes back")

        assert published(here) == digests(SECOND)
        assert here.server.open_uploads(here.agent.token or "") == {}
        assert told(here, "upload.overwritten") == 1
        assert here.agent.state_if_any()["totals"]["files_overwritten"] == 1
