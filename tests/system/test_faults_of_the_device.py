"""The device's own disk is full, or read-only, or is written to by two: what that stops, and what not."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import time

import pytest

from demo.ports import LOOPBACK, free_port
from edge_agent.store.reserve import RESERVE_BYTES
from tests.support.agent_store import another_program
from tests.support.processes import wait_for
from tests.support.recordings import MB, make_recording, sha256
from tests.support.site import site
from tests.support.small_disk import small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]


FILES = 100


def cpu_s(program):
    with open(f"/proc/{program.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_L5_a_full_disk_under_the_state_stops_and_says_so_and_goes_on_when_there_is_room(tmp_path):
    with (
        small_disk(tmp_path / "device" / "state", size="2m") as disk,
        site(tmp_path, upload={"max_rate": "3MB"}, retention={"delete": "after_verified"}) as here,
    ):
        first = here.agent.media / "first.mkv"
        first.write_bytes(os.urandom(6 * MB))
        digests = {"first.mkv": sha256(first)}
        here.agent.start()
        wait_for(lambda: here.link.sent > MB, "the upload is under way")

        disk.fill()
        second = make_recording(here.agent.media / "second.mp4", seconds=0.5)
        digests["second.mp4"] = sha256(second)
        here.agent.wait_until_blocked_by("disk")
        before_s = cpu_s(here.agent)
        time.sleep(2)  # what a full disk costs while nobody mends it
        spent_s = cpu_s(here.agent) - before_s
        kept = first.exists() and second.exists()
        disk.make_room()
        here.wait_until_published(2)
        wait_for(lambda: not first.exists() and not second.exists(), "both are let go")
        wait_for(
            lambda: set(here.agent.state()["problems"]) <= {"clock_unsynced"}, "no problem is left"
        )

        assert kept
        assert spent_s < 0.5
        assert here.published_digests() == digests
        assert here.link.sent - sum(p.stat().st_size for p in here.server.published_files()) < MB


def test_a_full_card_with_recordings_and_state_is_sent_and_freed_without_a_person(tmp_path):
    with (
        small_disk(tmp_path / "card", size="48m") as disk,
        site(tmp_path, retention={"delete": "after_verified"}) as here,
    ):
        here.agent.media, here.agent.state_dir = disk.path / "media", disk.path / "state"
        here.agent.media.mkdir()
        here.agent.configure(
            **{"": {"state_dir": here.agent.state_dir}, "watch": {"folder": here.agent.media}}
        )
        here.agent.start()
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it runs")
        held = (here.agent.state_dir / "agent.reserve").stat()
        here.agent.kill()  # a power cut
        for number in range(20):
            (here.agent.media / f"{number}.mp4").write_bytes(os.urandom(MB))
        disk.fill()
        assert shutil.disk_usage(disk.path).free == 0

        here.agent.start()
        here.wait_until_published(20)
        wait_for(lambda: not os.listdir(here.agent.media), "all are let go")
        wait_for(
            lambda: "state_full" not in here.agent.state_if_any().get("problems", ["state_full"]),
            "it needs no reserve any more",
        )

    assert (held.st_size, held.st_blocks * 512) == (RESERVE_BYTES, RESERVE_BYTES)
    assert held.st_mode & 0o777 == 0o600
    (said,) = [one for one in here.agent.log() if one.get("event") == "state.full"]
    assert said["action"].startswith("goes on with what it has held back; make room")


def test_a_card_that_takes_no_more_files_is_sent_and_freed_without_a_person(tmp_path):
    with (
        small_disk(tmp_path / "card", size="48m", inodes=60) as disk,
        site(tmp_path, retention={"delete": "after_verified"}) as here,
    ):
        here.agent.media, here.agent.state_dir = disk.path / "media", disk.path / "state"
        here.agent.media.mkdir()
        here.agent.configure(
            **{"": {"state_dir": here.agent.state_dir}, "watch": {"folder": here.agent.media}}
        )
        here.agent.start()
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it runs")
        here.agent.stop()  # which leaves the database one file instead of three
        for number in range(3):
            (here.agent.media / f"{number}.mp4").write_bytes(os.urandom(1000))
        with contextlib.suppress(OSError):
            for number in range(100):
                (disk.path / f"other-{number}").touch()
        assert (os.statvfs(disk.path).f_favail, number > 20) == (0, True)
        assert shutil.disk_usage(disk.path).free > 16 * MB

        here.agent.start()
        here.wait_until_published(3)
        wait_for(lambda: not os.listdir(here.agent.media), "all are let go")
        wait_for(
            lambda: "state_full" not in here.agent.state_if_any().get("problems", ["state_full"]),
            "it needs no reserve any more",
        )


def test_a_start_on_a_full_disk_sends_all_the_same_and_says_so(tmp_path):
    with (
        small_disk(tmp_path / "device" / "state", size="2m") as disk,
        site(tmp_path) as here,
    ):
        make_recording(here.agent.media / "flight.mp4", seconds=0.5)
        disk.fill()
        here.agent.start()
        here.wait_until_published(1)
        said = next(line for line in here.agent.log() if line.get("event") == "state.in_memory")
        disk.make_room()
        wait_for((here.agent.state_dir / "agent.db").exists, "it is written down")

        assert "full" in said["error"]
        assert "Traceback" not in here.agent.end_of_log()


def test_recordings_on_a_read_only_card_are_sent_kept_and_not_hammered(tmp_path):
    with (
        small_disk(tmp_path / "device" / "media", size="40m") as card,
        site(tmp_path, retention={"delete": "after_verified"}) as here,
    ):
        recording = make_recording(here.agent.media / "flight.mp4", seconds=1)
        digest = sha256(recording)
        card.set_writable(writable=False)
        here.agent.start()
        here.wait_until_published(1)
        wait_for(
            lambda: any(line.get("event") == "upload.not_released" for line in here.agent.log()),
            "it says that it cannot delete",
        )
        before_s = cpu_s(here.agent)
        time.sleep(2)
        spent_s = cpu_s(here.agent) - before_s
        kept = recording.exists()
        card.set_writable(writable=True)

        assert here.published_digests() == {"flight.mp4": digest}
        assert kept
        assert spent_s < 0.5


def test_a_second_agent_on_one_state_folder_is_refused_and_the_first_goes_on(tmp_path):
    with site(tmp_path, upload={"max_rate": "4MB"}) as here:
        recording = here.agent.media / "long.mkv"
        recording.write_bytes(os.urandom(6 * MB))
        here.agent.start()
        wait_for(lambda: here.link.sent > MB, "the upload is under way")
        others = [here.agent.beside(f"other-{number}") for number in range(3)]
        for other in others:
            other.start()
        wait_for(lambda: None not in [one.child.ended() for one in others], "they are refused")
        here.wait_until_published(1)

        assert [other.child.ended() for other in others] == [1, 1, 1]
        assert here.published_digests() == {"long.mkv": sha256(recording)}
        assert here.link.sent - recording.stat().st_size < MB


def test_a_folder_of_many_small_files_goes_once_each(tmp_path):
    with site(tmp_path) as here:
        here.agent.configure(log={"level": "warning"})
        expected = {}
        for number in range(FILES):
            path = here.agent.media / f"{number % 20}" / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.urandom(2000 + number))
            expected[path.name] = path.stat().st_size
        began_s = time.monotonic()
        here.agent.start()
        here.wait_until_published(FILES, 80)
        print(f"{FILES} files in {time.monotonic() - began_s:.1f} s")
        wait_for(lambda: here.agent.state()["queue"]["files"] == 0, "nothing is left")
        files = here.server.published_files()

        assert {path.name: path.stat().st_size for path in files} == expected
        assert len(files) == FILES
        assert here.agent.state()["totals"]["bytes_resent"] == 0
        with open(f"/proc/{here.agent.pid}/status") as status:
            peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        assert peak_kib * 1024 < resource.getpagesize() * 20_000


def test_an_idle_agent_holds_no_card_back_and_sees_what_is_mounted_over_its_folder(tmp_path):
    with (
        small_disk(tmp_path / "device" / "media", size="40m") as first,
        site(tmp_path) as here,
    ):
        (here.agent.media / "day").mkdir()
        make_recording(here.agent.media / "day" / "first.mp4", seconds=0.5)
        here.agent.start()
        here.wait_until_published(1)
        wait_for(lambda: here.agent.status()["state"]["state"] == "idle", "it is idle")

        subprocess.run(["mount", "-t", "tmpfs", "second", here.agent.media], check=True)
        make_recording(here.agent.media / "second.mp4", seconds=0.5)
        here.wait_until_published(2)
        wait_for(lambda: here.agent.status()["state"]["state"] == "idle", "it is idle again")
        eject(here.agent.media)
        eject(first.path)

        assert sorted(here.published_digests()) == ["first.mp4", "second.mp4"]
        assert here.agent.child.ended() is None


def eject(card):
    """Unmount *card*, and say so if the agent has something on it open: nobody waits for long."""
    wait_for(
        lambda: subprocess.run(["umount", card], check=False).returncode == 0, "it unmounts", 5
    )


def files_done(agent):
    return agent.state_if_any().get("totals", {}).get("files_done")


def events_kept(agent):
    """Return type -> data of the events that no broker has yet."""
    with another_program(agent.state_dir / "agent.db") as database:
        return {
            kind: json.loads(data)
            for kind, data in database.execute("SELECT type, data FROM event")
        }


@pytest.mark.parametrize("how", ["was emptied", "is gone"])
def test_a_state_that_is_lost_between_two_runs_is_said_and_nothing_is_sent_twice(tmp_path, how):
    with site(tmp_path, mqtt={"url": f"mqtt://{LOOPBACK}:{free_port()}"}) as here:
        make_recording(here.agent.media / "a.mp4", seconds=0.2)
        here.agent.start()
        here.wait_until_published(1)
        wait_for(lambda: files_done(here.agent) == 1, "the receipt is stored")
        here.agent.stop()
        told_before = [line for line in here.agent.log() if line["event"] == "store.lost"]
        for path in here.agent.state_dir.glob("agent.db*"):
            path.unlink()
        if how == "was emptied":
            (here.agent.state_dir / "agent.db").touch()
        here.agent.start()
        wait_for(lambda: files_done(here.agent) == 1, "it is known again")
        told = [line["detail"] for line in here.agent.log() if line["event"] == "store.lost"]
        here.agent.stop()
        events = events_kept(here.agent)

    assert told_before == []
    assert events["agent.state_lost"] == {"detail": f"agent.db {how}", "moved_to": None}
    assert told == [
        f"the state database {how}: events that no broker had yet, the counters, and what people had"
        " ordered (a pause, a limit, a priority) went with it"
    ]
    assert len(here.server.published_files()) == 1
