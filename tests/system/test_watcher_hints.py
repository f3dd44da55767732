"""The watcher with the real watchdog: each way in which watchdog loses events without a word.

The scan interval is an hour, so what is found was hinted, or noticed by comparing what is watched.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.clock import SystemClock
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import WatchSettings
from edge_agent.core.upload import State
from edge_agent.media.folder import Folder
from edge_agent.media.hints import watched_inodes
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.media.watcher import Watcher
from edge_agent.store.recordings import Store
from tests.support.requirements import require, require_root

pytestmark = [
    pytest.mark.slow,
    # As in the programs: watchdog 7 warns for each folder that is made while it looks.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:watchdog"),
]


class Live:
    """A watcher in real time, stepped in the test's own thread."""

    def __init__(
        self, base: Path, root: Path, *, scan_interval_s: float = 3600.0, settle_s: float = 0.2
    ) -> None:
        self.clock = SystemClock()
        self.store = Store.open(base / "agent.db", clock=self.clock, boot_id="boot")
        self.activity = Activity()
        self.woken = threading.Event()
        folder = Folder(
            WatchSettings(
                folder=root, settle_seconds=settle_s, scan_interval_seconds=scan_interval_s
            )
        )
        probe = LeaseProbe()
        settler = StabilityCheck(folder, self.store, self.activity, probe)
        self.watcher = Watcher(folder, self.store, self.activity, settler, probe=probe)
        self.watcher.wake_runner = self.woken.set

    def close(self) -> None:
        self.watcher.stop()
        self.store.close()

    def run_until(self, is_so: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Step when a step is due or hinted, until *is_so* holds after one."""
        give_up_s = self.clock.now_s() + timeout_s
        while True:
            now_s = self.clock.now_s()
            self.woken.clear()
            wait_s = self.watcher.step(now_s)
            if is_so():
                return
            assert now_s < give_up_s, f"not within {timeout_s} s: {self.names()}"
            self.woken.wait(min(wait_s, give_up_s - now_s))

    def run_for(self, seconds: float) -> None:
        end_s = self.clock.now_s() + seconds
        while (left_s := end_s - self.clock.now_s()) > 0:
            self.woken.clear()
            self.woken.wait(min(left_s, self.watcher.step(self.clock.now_s())))

    def names(self) -> dict[str, State]:
        return {one.name: one.state for one in self.store.in_states(*State)}

    def settled(self, *names: str) -> Callable[[], bool]:
        return lambda: all(self.names().get(name) is State.STABLE for name in names)


@pytest.fixture
def live(tmp_path) -> Iterator[Live]:
    (tmp_path / "media").mkdir()
    made = Live(tmp_path, tmp_path / "media")
    made.run_for(0.5)
    yield made
    made.close()


@pytest.fixture
def media(tmp_path) -> Path:
    return tmp_path / "media"


def test_a_file_that_is_written_and_closed_is_found(live, media):
    (media / "a.mp4").write_bytes(b"x")

    live.run_until(live.settled("a.mp4"))


def test_a_file_that_is_moved_in_or_renamed_is_found(live, media, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "a.mp4").rename(media / "a.mp4")
    (media / "b.mp4.part").write_bytes(b"y")
    (media / "b.mp4.part").rename(media / "b.mp4")

    live.run_until(live.settled("a.mp4", "b.mp4"))


def test_what_is_renamed_into_place_is_finished_and_what_had_a_name_before_is_not(
    tmp_path,
):
    media, inside = tmp_path / "media", tmp_path / "media" / ".tmp"
    inside.mkdir(parents=True)
    live = Live(tmp_path, media, settle_s=3600.0)
    try:
        live.run_for(0.5)
        (media / "log.mp4").write_bytes(b"x")
        live.run_until(lambda: live.names() == {"log.mp4": State.SEEN})

        (media / "log.mp4").rename(media / "log-1.mp4")
        for number, before in enumerate(
            (tmp_path / "a.mp4", media / "b.mp4.part", inside / "c.mp4", media / "d.unknown")
        ):
            before.write_bytes(bytes(number + 1))
            before.rename(media / f"{number}.mp4")

        live.run_until(live.settled("0.mp4", "1.mp4", "2.mp4", "3.mp4"))
        live.run_until(lambda: "log-1.mp4" in live.names())
        assert live.names()["log-1.mp4"] is State.SEEN
    finally:
        live.close()


def test_what_is_renamed_into_place_and_still_written_is_not_finished(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    live = Live(tmp_path, media, settle_s=3600.0)
    try:
        live.run_for(0.5)
        with (media / "a.mp4.part").open("wb") as file:
            file.write(b"half")
            file.flush()
            (media / "a.mp4.part").rename(media / "a.mp4")
            live.run_until(lambda: live.names() == {"a.mp4": State.GROWING})
        live.run_until(live.settled("a.mp4"))
    finally:
        live.close()


def test_a_deleted_file_is_noticed(live, media):
    (media / "a.mp4").write_bytes(b"x")
    live.run_until(live.settled("a.mp4"))

    (media / "a.mp4").unlink()

    live.run_until(lambda: live.names() == {"a.mp4": State.FAILED})


def test_folders_and_files_made_faster_than_they_are_watched_are_all_found(live, media):
    expected = set()
    for folder in range(30):
        deep = media / f"{folder}/b/c"
        deep.mkdir(parents=True)
        for number in range(15):
            name = f"{folder}-{number}.mp4"
            (deep / name).write_bytes(b"x")
            expected.add(name)

    live.run_until(lambda: set(live.names()) == expected)
    live.run_until(live.settled(*expected))


def test_a_later_file_in_a_tree_that_was_moved_in_is_found(live, media, tmp_path):
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/a/b/1.mp4").write_bytes(b"x")
    (tmp_path / "tree").rename(media / "tree")
    live.run_until(live.settled("1.mp4"))

    (media / "tree/a/b/2.mp4").write_bytes(b"y")

    live.run_until(live.settled("2.mp4"))


def test_a_root_that_was_deleted_and_made_anew_is_watched_again(live, media):
    shutil.rmtree(media)
    media.mkdir()
    live.run_for(3.0)

    (media / "a.mp4").write_bytes(b"x")

    live.run_until(live.settled("a.mp4"))


def test_a_root_that_goes_and_comes_back_is_watched_again(live, media, tmp_path):
    media.rename(tmp_path / "away")
    live.run_until(lambda: ProblemCode.SOURCE_MISSING in live.activity.problems)
    (tmp_path / "away").rename(media)
    live.run_until(lambda: not live.activity.problems)
    live.run_for(1.0)

    (media / "a.mp4").write_bytes(b"x")

    live.run_until(live.settled("a.mp4"))


def test_a_root_that_is_a_link_is_watched(tmp_path):
    (tmp_path / "card").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "card")
    live = Live(tmp_path, tmp_path / "link")
    live.run_for(0.5)

    (tmp_path / "card/a.mp4").write_bytes(b"x")

    live.run_until(live.settled("a.mp4"))
    live.close()


def test_reading_our_own_files_is_no_hint(live, media):
    (media / "a.mp4").write_bytes(b"x")
    live.run_until(live.settled("a.mp4"))
    live.run_for(1.5)
    live.woken.clear()

    for _ in range(100):
        (media / "a.mp4").read_bytes()

    assert not live.woken.wait(0.5)


def test_a_queue_overflow_makes_it_look_again(live):
    live.woken.clear()

    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed")

    assert live.woken.is_set()


def test_dead_observer_threads_are_replaced(tmp_path, media):
    media.mkdir()
    live = Live(tmp_path, media, scan_interval_s=1.0)
    live.run_for(0.5)
    observer = live.watcher._lookout._hints._observer
    assert observer is not None
    for emitter in observer.emitters:
        emitter.stop()
        emitter.join(10)

    live.run_for(2.5)

    assert live.watcher._lookout._hints.are_alive()
    assert live.watcher._lookout._hints._observer is not observer
    assert media.stat().st_ino in watched_inodes()
    live.close()


_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {repository!r})
from tests.system.test_watcher_hints import *
base = Path({base!r})
media = base / "media"
media.mkdir()
"""


def _in_namespace(kind: str, tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run *body* where mounts or limits are its own."""
    repository = str(Path(__file__).parents[2])
    head = _CHILD.format(repository=repository, base=str(tmp_path))
    return subprocess.run(
        [require("unshare"), *kind.split(), sys.executable, "-c", head + textwrap.dedent(body)],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_at_the_watch_limit_it_says_so_and_scans_find_the_rest(tmp_path):
    done = _in_namespace(
        "--user --map-root-user",
        tmp_path,
        """
        Path("/proc/sys/user/max_inotify_watches").write_text("10")
        for number in range(50):
            (media / str(number)).mkdir()
        live = Live(base, media, scan_interval_s=1.0)
        live.run_until(lambda: ProblemCode.WATCH_LIMIT in live.activity.problems)
        for number in range(50):
            (media / str(number) / f"{number}.mp4").write_bytes(b"x")
        live.run_until(live.settled(*(f"{number}.mp4" for number in range(50))))
        live.close()
        print("good")
        """,
    )

    assert done.stdout.splitlines()[-1:] == ["good"], done.stdout + done.stderr


def test_a_file_system_mounted_over_a_subfolder_is_watched(tmp_path):
    require_root()
    done = _in_namespace(
        "--mount",
        tmp_path,
        """
        import subprocess
        (media / "card").mkdir()
        live = Live(base, media, scan_interval_s=2.0)
        live.run_for(1.0)
        subprocess.run(["mount", "-t", "tmpfs", "none", media / "card"], check=True)
        live.run_for(5.0)
        assert (media / "card").stat().st_ino in watched_inodes()
        (media / "card/a.mp4").write_bytes(b"x")
        live.run_until(live.settled("a.mp4"))
        subprocess.run(["umount", media / "card"], check=True)
        live.run_for(5.0)
        print(live.names()["a.mp4"])
        live.close()
        """,
    )

    # Pulled, not deleted: the file's own file system is not there to say that it is gone.
    assert done.stdout.splitlines()[-1:] == ["stable"], done.stdout + done.stderr


def test_a_watched_root_that_is_unmounted_and_mounted_again_is_watched(tmp_path):
    require_root()
    done = _in_namespace(
        "--mount",
        tmp_path,
        """
        import subprocess
        image = base / "card.img"
        with image.open("wb") as file:
            file.truncate(8_000_000)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        mount = lambda: subprocess.run(["mount", "-o", "loop", image, media], check=True)
        mount()
        (media / "a.mp4").write_bytes(b"x")
        live = Live(base, media, scan_interval_s=1.0)
        live.run_until(live.settled("a.mp4"))
        subprocess.run(["umount", "--lazy", media], check=True)
        live.run_for(3.0)
        assert live.names() == {"a.mp4": State.STABLE}
        mount()
        live.run_for(3.0)
        (media / "b.mp4").write_bytes(b"y")
        live.run_until(live.settled("a.mp4", "b.mp4"))
        live.close()
        subprocess.run(["umount", media], check=True)
        print("good")
        """,
    )

    if "loop device" in done.stderr:
        pytest.skip("no loop device here")
    assert done.stdout.splitlines()[-1:] == ["good"], done.stdout + done.stderr
