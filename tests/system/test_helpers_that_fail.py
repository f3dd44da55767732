"""What only helps the agent fails from its start on: a recording arrives all the same."""

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import make_recording
from tests.support.requirements import require_root
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

NO_INOTIFY = (
    "unshare",
    "-Ur",
    "sh",
    "-c",
    'echo 0 > /proc/sys/user/max_inotify_instances; exec "$@"',
    "sh",
)
NO_LOG = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
NO_BOOT_ID = ("unshare", "-Urm", "sh", "-c", 'mount -t tmpfs none /proc/sys; exec "$@"', "sh")
"""As in a sandbox that shows processes alone (ProcSubset=pid)."""
NO_SYS = ("unshare", "-Urm", "sh", "-c", 'mount -t tmpfs none /sys; exec "$@"', "sh")
NO_SYSTEMD = ("env", "NOTIFY_SOCKET=/nowhere", "WATCHDOG_USEC=3000000")


@pytest.mark.parametrize(
    ("wrap", "problems"),
    [
        pytest.param(NO_INOTIFY, {"watch_limit"}, id="no inotify instance"),
        pytest.param(NO_LOG, set(), id="a log on a full disk"),
        pytest.param(NO_BOOT_ID, set(), id="no /proc/sys"),
        pytest.param(NO_SYS, set(), id="no /sys", marks=pytest.mark.nightly),
        pytest.param(NO_SYSTEMD, set(), id="no service manager"),
    ],
)
def test_a_recording_arrives_without_what_only_helps(wrap, problems, tmp_path):
    require_root()
    with site(tmp_path) as here:
        here.agent.command = [*wrap, *here.agent.command]
        here.agent.start()
        wait_for(here.agent.state_if_any, "the agent answers")
        make_recording(here.agent.media / "flight.mp4", seconds=0.5)

        here.wait_until_published(1)
        wait_for(lambda: here.agent.state()["queue"]["files"] == 0, "it has the receipt")
        wait_for(lambda: here.agent.state()["state"] == "idle", "it has nothing to do")
        state = here.agent.state()

    assert state["totals"]["files_done"] == 1
    assert set(state["problems"]) - {"clock_unsynced"} == problems
