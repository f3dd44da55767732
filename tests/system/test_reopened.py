"""L2: a recording that a program opens again after it was verified or sent is never deleted under it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import MB
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

TAIL = b"what the program writes later" * 100


def rows(agent):
    return {one["name"]: one for one in agent.status()["files"]}


def state_of(agent, name):
    return rows(agent).get(name, {}).get("state") if agent.state_if_any() else None


def published_bytes(here):
    return [path.read_bytes() for path in here.server.published_files()]


def test_L2_opened_again_after_it_was_verified_it_stays_says_so_and_is_sent_again(tmp_path):
    keep = {"delete": "after_verified", "keep_free": "1KB"}
    with site(tmp_path, retention=keep) as here:
        path = here.agent.media / "log.csv"
        path.write_bytes(os.urandom(50_000))
        here.agent.start()
        wait_for(lambda: state_of(here.agent, "log.csv") == "verified", "it is verified")

        with path.open("ab") as program:
            here.agent.configure(retention={**keep, "keep_free": "100TB"})
            os.kill(here.agent.pid, signal.SIGHUP)
            wait_for(
                lambda: rows(here.agent)["log.csv"]["reason"] == "still_recording", "it says why"
            )
            program.write(TAIL)
        wait_for(lambda: len(here.server.published_files()) == 2, "its new bytes are published")
        wait_for(lambda: list(here.agent.media.iterdir()) == [], "then it is let go")

        assert any(one.endswith(TAIL) for one in published_bytes(here))


def test_L2_opened_again_while_it_is_sent_and_written_after_that_it_loses_nothing(tmp_path):
    with site(tmp_path, upload={"max_rate": "3MB"}, retention={"delete": "after_verified"}) as here:
        path = here.agent.media / "log.csv"
        path.write_bytes(os.urandom(6 * MB))
        here.agent.start()
        wait_for(lambda: here.link.sent > MB, "the upload is under way")

        with path.open("ab") as program:
            here.wait_until_published(1)
            wait_for(
                lambda: rows(here.agent)["log.csv"]["reason"] == "still_recording", "it says why"
            )
            program.write(TAIL)
        wait_for(lambda: any(one.endswith(TAIL) for one in published_bytes(here)), "all of it", 90)
        wait_for(lambda: list(here.agent.media.iterdir()) == [], "then it is let go", 90)


def test_a_recording_made_under_the_name_of_one_on_its_way_out_is_sent_though_as_long(tmp_path):
    first, second = os.urandom(50_000), os.urandom(50_000)
    with site(tmp_path, retention={"delete": "after_verified"}) as here:
        path = here.agent.media / "a.mp4"
        path.write_bytes(first)
        here.agent.start()
        wait_for(lambda: not path.exists(), "it is aside")

        path.write_bytes(second)
        here.wait_until_published(2)
        wait_for(lambda: list(here.agent.media.iterdir()) == [], "that one is let go, too")

        assert sorted(published_bytes(here)) == sorted([first, second])


def test_L2_what_a_kill_leaves_on_its_way_out_is_back_under_its_name_after_the_next_start(tmp_path):
    with site(tmp_path, retention={"delete": "after_verified"}) as here:
        here.agent.start()
        for number in range(20):
            (here.agent.media / f"{number}.mp4").write_bytes(b"recording %d" % number)

        def left() -> list[str]:
            return [name for name in os.listdir(here.agent.media) if name.startswith(".")]

        wait_for(left, "one is on its way out")
        here.agent.kill()
        assert left(), "killed in between"
        here.agent.configure(retention={"delete": "never"})
        here.agent.start()
        wait_for(lambda: not left(), "they have their names again")
        here.wait_until_published(20)

        for path in here.agent.media.iterdir():
            assert path.read_bytes() == b"recording %s" % path.stem.encode()
        assert len(here.published_digests()) == 20


def test_a_recording_of_several_names_goes_by_each_of_them_and_not_again_and_again(tmp_path):
    with site(tmp_path, retention={"delete": "after_verified"}) as here:
        first = here.agent.media / "a.mp4"
        first.write_bytes(os.urandom(3000))
        others = [here.agent.media / name for name in ("b.mp4", "c.mp4", "sub/d.mp4")]
        for path in others:
            path.parent.mkdir(exist_ok=True)
            path.hardlink_to(first)
        here.agent.start()
        wait_for(lambda: not any(path.exists() for path in (first, *others)), "all are let go", 60)

        assert here.agent.state()["totals"]["files_done"] == 4
