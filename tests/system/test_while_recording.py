"""A recording that is sent while its recorder still writes to it (`[watch] while_recording`)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from tests.support.processes import wait_for
from tests.support.recordings import make_recording, sha256
from tests.support.requirements import require
from tests.support.site import Site, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MIB = 2**20
LENGTH = 12 * MIB
LAG = 2 * MIB
"""What is left of a file of whole blocks while it is written to: the last one, and the lag."""
OVERHEAD = 64 * 1024
"""Heads of requests, and what the agent tells the server beside recordings."""
WANTED = {"while_recording": ["*.*"]}


def content(seed: int = 1, length: int = LENGTH) -> bytes:
    return random.Random(seed).randbytes(length)


def wait_until_held(here: Site, name: str, least: int) -> None:
    """Return once the server holds *least* bytes of an upload that is not finished."""
    token = here.agent.token or ""
    wait_for(lambda: here.server.open_uploads(token).get(name, 0) >= least, f"{least} are held")


def begin(here: Site, name: str, written: bytes) -> int:
    """Begin to record *name*, and wait until what is old enough has been sent; return the open file."""
    fd = os.open(here.agent.media / name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(fd, written)
    wait_until_held(here, name, len(written) - LAG)
    return fd


def finish(here: Site, fd: int, name: str, *, resent: int = 0) -> None:
    """Close the file; its copy must be true, and bytes must have gone twice no more than allowed."""
    length = os.fstat(fd).st_size
    os.close(fd)
    here.wait_until_published(1)

    assert here.published_digests() == {name: sha256(here.agent.media / name)}
    assert here.link.sent <= length + resent + OVERHEAD
    events = [one.get("event") for one in here.agent.log()]
    assert "upload.repairing" not in events, "what differs was found before it was completed"


def test_what_is_only_appended_is_sent_while_it_grows_and_no_byte_goes_twice(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = begin(here, "a.ts", content())
        os.write(fd, content(2, 3 * MIB + 1))
        wait_until_held(here, "a.ts", LENGTH)

        assert here.server.published_files() == [], "nothing is published before it is finished"
        finish(here, fd, "a.ts")


def test_a_header_written_at_the_end_and_an_index_appended_cost_the_first_block(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = begin(here, "a.mp4", content())
        os.write(fd, content(2, 5000))
        os.pwrite(fd, b"size", 40)

        finish(here, fd, "a.mp4", resent=MIB)


def test_its_source_is_read_once_to_be_sent_and_once_to_be_compared(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        here.agent.state()
        before = read_by(here.agent.pid)
        fd = begin(here, "a.ts", content())
        os.write(fd, content(2, 3 * MIB + 1))
        wait_until_held(here, "a.ts", LENGTH)
        finish(here, fd, "a.ts")
        found = read_by(here.agent.pid) - before

    length = LENGTH + 3 * MIB + 1
    assert length <= found <= 2 * length + 2 * MIB, "and what SQLite reads, and a look at its facts"


def read_by(pid: int) -> int:
    """Return how many bytes a process has read, from files above all: what comes by sockets is not in it."""
    [line] = [one for one in Path(f"/proc/{pid}/io").read_text().splitlines() if "rchar" in one]
    return int(line.partition(":")[2])


@pytest.mark.nightly
def test_a_whole_file_that_is_shifted_at_the_end_goes_once_more_and_no_more(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = begin(here, "a.mp4", content())
        os.pwrite(fd, content(2, 5000) + content(), 0)

        finish(here, fd, "a.mp4", resent=LENGTH)


@pytest.mark.nightly
@pytest.mark.parametrize("reserve", [os.posix_fallocate, lambda fd, _, size: os.truncate(fd, size)])
def test_of_a_file_that_is_reserved_before_it_is_written_only_what_is_written_is_sent(
    tmp_path: Path, reserve: Callable[[int, int, int], None]
):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = os.open(here.agent.media / "a.mp4", os.O_RDWR | os.O_CREAT)
        reserve(fd, 0, 4 * LENGTH)
        os.pwrite(fd, content(), 0)
        wait_until_held(here, "a.mp4", LENGTH - LAG)
        os.pwrite(fd, content(2), LENGTH)
        wait_until_held(here, "a.mp4", 2 * LENGTH - LAG)
        os.truncate(fd, 2 * LENGTH)

        finish(here, fd, "a.mp4")


@pytest.mark.nightly
def test_a_file_that_ends_shorter_than_what_was_sent_is_begun_anew_and_true(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = begin(here, "a.mp4", content())
        os.truncate(fd, 3 * MIB + 7)

        finish(here, fd, "a.mp4", resent=LENGTH)
        # What the device has no more is not thrown away where it is.
        [(name, held)] = here.server.open_uploads(here.agent.token or "").items()
        assert name == "a.mp4"
        assert LENGTH - LAG <= held <= LENGTH


def test_a_file_that_is_renamed_at_its_end_is_published_by_its_last_name_and_goes_once(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = begin(here, "recording.mp4", content())
        os.write(fd, content(2, 3 * MIB))
        wait_until_held(here, "recording.mp4", LENGTH)
        os.write(fd, content(3, 5000))
        (here.agent.media / "recording.mp4").rename(here.agent.media / "final.mp4")

        finish(here, fd, "final.mp4")
        assert here.server.open_uploads(here.agent.token or "") == {}


def test_kills_of_agent_and_server_while_it_grows_cost_no_acknowledged_byte(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = begin(here, "a.ts", content())
        here.agent.kill()
        os.write(fd, content(2))
        here.agent.start()
        wait_until_held(here, "a.ts", 2 * LENGTH - LAG)
        here.server.kill()
        os.write(fd, content(3))
        here.server.start()
        wait_until_held(here, "a.ts", 3 * LENGTH - LAG)

        finish(here, fd, "a.ts")


@pytest.mark.nightly
def test_header_and_middle_rewritten_while_the_agent_was_away_are_found_at_the_end(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = begin(here, "a.mp4", content())
        here.agent.kill()
        os.pwrite(fd, b"size", 40)
        os.pwrite(fd, b"size", 5 * MIB)
        os.close(fd)
        here.agent.start()
        here.wait_until_published(1)

        assert here.published_digests() == {"a.mp4": sha256(here.agent.media / "a.mp4")}
        assert here.link.sent <= LENGTH + 2 * MIB + OVERHEAD


@pytest.mark.nightly
def test_what_nobody_asked_for_is_not_sent_before_it_is_finished_and_a_reload_asks_for_it(tmp_path):
    with site(tmp_path, watch={"while_recording": ["*.ts"]}) as here:
        here.agent.start()
        other = os.open(here.agent.media / "other.mp4", os.O_RDWR | os.O_CREAT)
        os.write(other, content(7))
        fd = begin(here, "a.ts", content())
        held = here.server.open_uploads(here.agent.token or "")
        here.agent.configure(watch=WANTED)
        os.kill(here.agent.pid, signal.SIGHUP)
        wait_until_held(here, "other.mp4", LENGTH - LAG)
        os.close(other)
        os.close(fd)
        here.wait_until_published(2)

        assert "other.mp4" not in held


@contextlib.contextmanager
def recorder(take: Path, out: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real muxer that writes *take* to *out* again and again, in real time, until it is stopped."""
    command: list[str | Path] = [
        require("ffmpeg"),
        "-v",
        "error",
        "-re",
        "-stream_loop",
        "-1",
        "-i",
        take,
        "-c",
        "copy",
    ]
    with subprocess.Popen([*command, *options, out], stdin=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


def stop(running: subprocess.Popen[bytes]) -> None:
    running.send_signal(signal.SIGINT)  # it closes its file as it should
    running.wait(30)


RECORDERS = {
    "a.ts": (0, ()),
    "a.h264": (0, ()),
    "fragmented.mp4": (0, ("-movflags", "frag_keyframe+empty_moov")),
    "plain.mp4": (MIB, ()),
    "plain.mov": (MIB, ()),
    "reserved.mp4": (MIB, ("-moov_size", "200000")),
    "a.mkv": (MIB, ()),
    "a.avi": (MIB, ()),
    "a.flv": (MIB, ()),
    "front.mp4": (None, ("-movflags", "faststart")),
}
"""Name -> what a muxer makes the agent send again, None: all of it; options."""


@pytest.mark.parametrize(
    "name",
    [
        one if one == "plain.mp4" else pytest.param(one, marks=pytest.mark.nightly)
        for one in RECORDERS
    ],
)
def test_what_a_real_muxer_writes_in_real_time_arrives_true_and_nearly_once(tmp_path, name):
    again, options = RECORDERS[name]
    take = make_recording(tmp_path / "take.mp4", seconds=2.0, mbit=24)
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        path = here.agent.media / name
        with recorder(take, path, *options) as running:
            wait_until_held(here, name, 4 * MIB)
            stop(running)
        here.wait_until_published(1)

        length = path.stat().st_size
        assert here.published_digests() == {name: sha256(path)}
        assert here.link.sent <= length + (length if again is None else again) + OVERHEAD


def copies(take: Path, out: av.container.OutputContainer) -> Iterator[None]:
    """Write the picture of *take* into *out* again and again, once for each step."""
    with av.open(str(take)) as source:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        times = [packet.dts for packet in packets if packet.dts is not None]
        span = times[-1] - times[0] + max(one.duration or 1 for one in packets)
        start = 0
        while True:
            for one, dts in zip(packets, times, strict=True):
                packet = av.Packet(bytes(one))
                packet.pts, packet.dts = (one.pts or 0) + start, dts + start
                packet.duration, packet.is_keyframe = one.duration, one.is_keyframe
                packet.time_base, packet.stream = one.time_base, copy
                out.mux(packet)
            start += span
            yield


@pytest.mark.nightly
def test_a_fragmented_file_that_becomes_a_plain_one_at_its_close_costs_its_first_block(tmp_path):
    take = make_recording(tmp_path / "take.mp4", seconds=2.0, mbit=24)
    options = {"movflags": "hybrid_fragmented+frag_keyframe"}
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        path = here.agent.media / "hybrid.mp4"
        with av.open(str(path), "w", format="mp4", options=options) as out:
            writing = copies(take, out)
            for _ in range(3):
                next(writing)
            wait_until_held(here, path.name, 8 * MIB)
            next(writing)
        here.wait_until_published(1)

        assert here.published_digests() == {path.name: sha256(path)}
        assert here.link.sent <= path.stat().st_size + MIB + OVERHEAD


@pytest.mark.nightly
def test_what_a_ring_of_files_deletes_after_it_was_begun_is_delivered(tmp_path):
    """Segments of 5 s come faster than the link carries them, and two are kept beside the one written."""
    with site(tmp_path, watch=WANTED, upload={"max_rate": "800KB"}) as here:
        here.agent.start()
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it looks at the folder")
        contents = {f"{number:03}.ts": content(number, 5 * MIB) for number in range(6)}
        for name, data in contents.items():
            with (here.agent.media / name).open("wb", buffering=0) as file:
                for at in range(0, len(data), MIB // 4):
                    file.write(data[at : at + MIB // 4])
                    time.sleep(1 / 4)  # a recorder writes in real time
            for oldest in sorted(here.agent.media.iterdir())[:-2]:
                oldest.unlink()
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "all is settled", 60)
        begun, verified = (
            {one["recording_id"] for one in here.agent.log() if one.get("event") == event}
            for event in ("upload.planned_while_recording", "upload.verified")
        )

        assert begun
        assert begun <= verified
        wanted = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
        assert here.published_digests().items() <= wanted.items()


def test_what_a_ring_deletes_while_the_server_is_away_is_delivered_if_it_was_begun(tmp_path):
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        fd = begin(here, "000.ts", content(1, 4 * MIB))
        here.server.stop()
        os.write(fd, content(2, MIB))
        os.close(fd)
        following = os.open(here.agent.media / "001.ts", os.O_WRONLY | os.O_CREAT)
        os.write(following, b"the recorder goes on")
        (here.agent.media / "000.ts").unlink()
        wait_for(
            lambda: any(one.get("event") == "upload.source_held" for one in here.agent.log()),
            "the agent reads it to its end",
        )
        here.server.start()
        here.wait_until_published(1)
        os.close(following)

        whole = hashlib.sha256(content(1, 4 * MIB) + content(2, MIB)).hexdigest()
        assert here.published_digests().items() >= {("000.ts", whole)}


@pytest.mark.nightly
def test_each_segment_of_a_segmenter_arrives_once(tmp_path):
    take = make_recording(tmp_path / "take.mp4", seconds=2.0, mbit=24)
    with site(tmp_path, watch=WANTED) as here:
        here.agent.start()
        out = here.agent.media / "%03d.ts"
        with recorder(take, out, "-f", "segment", "-segment_time", "2") as running:
            wait_for(lambda: len(here.server.published_files()) >= 3, "segments arrive", 60)
            stop(running)
        written = sorted(here.agent.media.iterdir())
        here.wait_until_published(len(written))

        assert here.published_digests() == {path.name: sha256(path) for path in written}
        assert here.link.sent <= sum(path.stat().st_size for path in written) + 2 * OVERHEAD
