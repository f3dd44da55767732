"""When a recording is finished, on file systems of cards and of other computers. Most of it in virtual time.

Where this kernel lacks them, they are skipped, and `test_in_a_machine.py` runs them in one that has them.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.core.stability import Writer
from edge_agent.core.upload import State
from edge_agent.media.lease import LeaseProbe
from tests.support.file_systems import disk_image, forget_cached, mounted_image
from tests.support.processes import wait_for
from tests.support.rim import recordings_in, watched_folder
from tests.support.shares import share
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(240)]

CARDS, SHARES = ["vfat", "exfat"], ["NFS", "SMB"]
every_kind = pytest.mark.parametrize("kind", [*CARDS, *SHARES])
each_card = pytest.mark.parametrize("kind", CARDS)
each_share = pytest.mark.parametrize("kind", SHARES)


@contextmanager
def media_on(kind: str, base: Path) -> Iterator[Path]:
    """Mount it at ``base/media``; yield where its files are written: there, or at the share's server."""
    if kind in CARDS:
        with disk_image(kind, base / "media") as mount:
            yield mount
    else:
        with share(kind, base) as one:
            yield one.below


def states_after(folder, seconds):
    folder.watcher.wake()
    folder.pass_time(seconds)
    return folder.states()


@each_card
def test_of_a_card_the_kernel_tells_the_truth_about_writers(tmp_path, kind):
    probe = LeaseProbe()
    with disk_image(kind, tmp_path / "media") as media:
        path = media / "a.mp4"
        path.write_bytes(b"x" * mmap.PAGESIZE)
        name = os.fsencode(path)
        closed = probe.writer(name)
        with path.open("r+b") as file:
            while_open = probe.writer(name)
            mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        while_mapped = probe.writer(name)
        mapped.close()

        assert (closed, while_open) == (Writer.NOBODY, Writer.SOMEBODY)
        assert (while_mapped, probe.writer(name)) == (Writer.SOMEBODY, Writer.NOBODY)
        assert probe.limits == ()


@each_share
def test_of_a_share_the_kernel_is_not_asked_and_that_is_said(tmp_path, kind):
    probe = LeaseProbe()
    with share(kind, tmp_path) as one:
        (one.mount / "a.mp4").write_bytes(b"x")

        assert probe.writer(os.fsencode(one.mount / "a.mp4")) is Writer.UNKNOWN
        [limit] = probe.limits
        assert limit.startswith(f"recordings lie on {kind}, where others may write unseen")


@every_kind
def test_a_recorder_that_pauses_is_not_cut_off(tmp_path, kind):
    with (
        media_on(kind, tmp_path) as written,
        watched_folder(tmp_path) as folder,
        (written / "flight.mp4").open("wb", buffering=0) as recorder,
    ):
        for _ in range(4):
            recorder.write(b"forty seconds of video")
            assert State.STABLE not in states_after(folder, 40.0).values()
        recorder.close()

        assert states_after(folder, 190.0) == {"flight.mp4": State.STABLE}
        assert folder.only().identity.length == 4 * len(b"forty seconds of video")


@every_kind
def test_what_its_recorder_makes_as_long_as_it_will_be_is_finished_when_that_was_filled(
    tmp_path, kind
):
    with (
        media_on(kind, tmp_path) as written,
        watched_folder(tmp_path) as folder,
        (written / "flight.mp4").open("wb", buffering=0) as recorder,
    ):
        recorder.truncate(1 << 20)
        for number in range(4):
            recorder.seek(number << 18)
            recorder.write(os.urandom(1 << 18))
            now_ns = (
                1_700_000_000 + 40 * number
            ) * 10**9  # the clock that the test moves is another
            os.utime(written / "flight.mp4", ns=(now_ns, now_ns))
            assert State.STABLE not in states_after(folder, 40.0).values()
        recorder.truncate(900_000)
        recorder.close()

        assert states_after(folder, 190.0) == {"flight.mp4": State.STABLE}
        assert folder.only().identity.length == 900_000


@every_kind
def test_what_gets_its_name_at_the_end_is_one_recording_and_what_is_deleted_is_none(tmp_path, kind):
    with media_on(kind, tmp_path) as written, watched_folder(tmp_path) as folder:
        (written / "a.mp4.part").write_bytes(b"a")
        (written / "b.mp4").write_bytes(b"bb")
        (written / "c.mp4").write_bytes(b"ccc")
        before = states_after(folder, 2.0)
        (written / "a.mp4.part").rename(written / "a.mp4")
        (written / "b.mp4").rename(written / "d.mp4")
        (written / "c.mp4").unlink()
        after = states_after(folder, 130.0)

        assert before == {"b.mp4": State.SEEN, "c.mp4": State.SEEN}
        assert {name for name, state in after.items() if state is State.STABLE} == {
            "a.mp4",
            "d.mp4",
        }
        assert len(recordings_in(folder.store)) == 3, "none of them was taken for another one"


@every_kind
def test_markers_count_however_long_it_is_quiet(tmp_path, kind):
    with (
        media_on(kind, tmp_path) as written,
        watched_folder(tmp_path, done_marker=".done") as folder,
    ):
        for name in ("a.mp4", "b.mp4", "b.mp4.done"):
            (written / name).write_bytes(b"x")

        assert states_after(folder, 6.0) == {"a.mp4": State.SEEN, "b.mp4": State.STABLE}
        assert states_after(folder, 600.0)["a.mp4"] is State.SEEN


@each_card
def test_files_that_the_kernel_numbers_anew_settle_and_stay_the_recordings_that_they_are(
    tmp_path, kind
):
    with media_on(kind, tmp_path) as written, watched_folder(tmp_path) as folder:
        for number in range(3):
            (written / f"{number}.mp4").write_bytes(bytes(1000 + number))
        for _ in range(6):  # a small machine that needs its memory
            states_after(folder, 4.0)
            forget_cached()

        assert set(states_after(folder, 4.0).values()) == {State.STABLE}
        assert len(recordings_in(folder.store)) == 3


@pytest.mark.timeout(900)
def test_a_card_whose_times_are_another_hour_after_the_clocks_changed_is_not_sent_again(tmp_path):
    media = tmp_path / "device" / "media"
    media.parent.mkdir()
    with site(tmp_path) as here:
        with disk_image("vfat", media):
            for number in range(3):
                (media / f"{number}.mp4").write_bytes(os.urandom(1 << 20))
            before_ns = (media / "0.mp4").stat().st_mtime_ns
            here.agent.start()
            here.wait_until_published(3, 200)
            wait_for(lambda: here.agent.state()["totals"]["files_done"] == 3, "all receipts", 60)
            here.agent.stop(60)
        sent = here.link.sent
        with mounted_image("vfat", media.with_name("media.img"), media, "time_offset=60"):
            shifted_s = ((media / "0.mp4").stat().st_mtime_ns - before_ns) // 10**9
            (media / "last.mp4").write_bytes(os.urandom(1000))
            here.agent.start()
            here.wait_until_published(4, 200)  # by then it has looked at all of them
            wait_for(lambda: here.agent.state()["queue"]["files"] == 0, "nothing waits", 60)
            rows = here.agent.status()["files"]
            here.agent.stop(60)

        assert abs(shifted_s) == 3600
        assert here.link.sent - sent < 100_000
        assert len(here.published_digests()) == 4
        assert sorted(row["name"] for row in rows) == ["0.mp4", "1.mp4", "2.mp4", "last.mp4"]
