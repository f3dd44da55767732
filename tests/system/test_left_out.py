"""What the agent does not send it says, with what to do: over MQTT's document, in `status` and in `check`."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import make_recording
from tests.support.requirements import require_root
from tests.support.site import site
from tests.support.small_disk import small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

NOBODY = 65534
HOLD = "import sys; file = open(sys.argv[1], 'r+b'); print(flush=True); sys.stdin.read()"


def problems(here):
    return set(here.agent.state_if_any().get("problems", ())) - {"clock_unsynced"}


def check(agent):
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", "check", "--config", agent.config],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout


@contextlib.contextmanager
def as_nobody():
    """A site whose agent is another user than the recorder, in a folder that both may enter."""
    require_root()
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with site(folder, watch={"fallback_settle_seconds": 1.0}) as here:
            agent = here.agent
            agent.state_dir.mkdir()
            for path in (agent.state_dir, agent.folder, agent.folder / "token"):
                os.chown(path, NOBODY, NOBODY)
            agent.command = [
                *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
                *agent.command,
            ]
            yield here
    finally:
        shutil.rmtree(folder)


def test_what_may_not_be_read_is_a_problem_and_a_reason_until_it_may():
    with as_nobody() as here:
        media = here.agent.media
        own, secret = (make_recording(media / f"{name}.mp4", seconds=0.2) for name in ("a", "b"))
        own.chmod(0o644)
        secret.chmod(0o600)
        (media / "sub").mkdir(mode=0o700)
        here.agent.start()
        here.wait_until_published(1)
        wait_for(lambda: "permission" in problems(here), "two looks have found it")
        state, page = here.agent.wait_until_blocked_by("permission"), here.agent.run("status")
        secret.chmod(0o644)
        (media / "sub").chmod(0o755)

        here.wait_until_published(2)
        wait_for(lambda: problems(here) == set(), "nothing is left out any more")

    assert "permission" in state["problems"]
    assert "b.mp4 cannot be read: Permission denied" in state["blocked_detail"]
    assert state["left_out"]["permission"]["count"] == 2
    assert "left out (permission): 2 not sent, for this user may not read it" in page
    assert "permission: b.mp4 cannot be read" in page


def test_names_that_fit_nothing_and_links_are_told_by_status_check_and_log(tmp_path):
    with site(tmp_path) as here:
        media, other = here.agent.media, tmp_path / "other"
        other.mkdir()
        make_recording(other / "c.mp4", seconds=0.2)
        (media / "events").symlink_to(other)
        (media / "evil\n\x1b[2J.docx").write_bytes(b"x")
        make_recording(media / "a.mp4", seconds=0.2)
        here.agent.start()
        here.wait_until_published(1)
        wait_for(lambda: problems(here) == {"left_out"}, "the problem")
        state, page, checked = here.agent.state(), here.agent.run("status"), check(here.agent)
        told = [line["cause"] for line in here.agent.log() if line["event"] == "folder.left_out"]

    evil = "evil%0A%1B[2J.docx"
    assert state["left_out"] == {
        "patterns": {"count": 1, "examples": [evil], "endings": ["docx"]},
        "link": {"count": 1, "examples": ["events"]},
    }
    assert f"1 not sent, for no [watch] patterns fits: {evil}; add what" in page
    assert "1 not sent, for symbolic links are not followed: events" in page
    assert f"WARN  left out: 1 not sent, for no [watch] patterns fits: {evil}" in checked
    assert sorted(told) == ["link", "patterns"]


def test_a_card_that_is_not_mounted_is_no_empty_card(tmp_path):
    card = tmp_path / "device" / "media"
    with site(tmp_path) as here:
        with small_disk(card, size="8m"):
            make_recording(card / "a.mp4", seconds=0.2)
            here.agent.start()
            here.wait_until_published(1)
            assert problems(here) == set()
        here.agent.wait_until_blocked_by("card_absent")
        here.agent.kill()
        here.agent.start()
        state = here.agent.wait_until_blocked_by("card_absent")
        with small_disk(card, size="8m"):
            make_recording(card / "b.mp4", seconds=0.2)
            here.wait_until_published(2)
            wait_for(lambda: problems(here) == set(), "the card is back")

    assert "card_absent" in state["problems"]
    assert f"nothing is mounted at {card}" in state["blocked_detail"]
