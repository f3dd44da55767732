"""What GStreamer's muxers write in real time, sent while it is recorded, and the recipe for its segments."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator

import pytest

from edge_agent.core.upload import State
from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.requirements import require
from tests.support.rim import watched_folder
from tests.support.site import site
from tests.system.test_recorders import Device, recipe

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(120)]

MIB = 2**20
OVERHEAD = 64 * 1024
"""Heads of requests, and what the agent tells the server beside recordings."""
PICTURE = "video/x-raw,width=480,height=360,framerate=25/1"
CAMERA = f"videotestsrc is-live=true pattern=snow ! {PICTURE}"
CODED = "x264enc speed-preset=ultrafast bitrate=16000 key-int-max=25 ! h264parse"
MUXERS = {
    "a.ts": (0, "mpegtsmux"),
    "a.flv": (MIB, "flvmux"),
    "a.mkv": (MIB, "matroskamux"),
    "a.avi": (MIB, "avimux"),
    "plain.mp4": (MIB, "mp4mux"),
    "fragmented.mov": (MIB, "qtmux fragment-duration=1000"),
    "robust.mp4": (
        MIB,
        "mp4mux reserved-moov-update-period=1000000000 reserved-max-duration=60000000000"
        " reserved-bytes-per-sec=2000",
    ),
}
"""Name -> what the muxer makes the agent send again, and the muxer; the last writes its index each second."""


@contextlib.contextmanager
def pipeline(*elements: str) -> Iterator[subprocess.Popen[bytes]]:
    """A camera and what follows it, until it is told to end its file, or is killed."""
    command = [str(require("gst-launch-1.0")), "-q", "-e", *" ! ".join(elements).split()]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("name", MUXERS)
def test_what_a_muxer_writes_in_real_time_arrives_true_and_nearly_once(tmp_path, name):
    again, muxer = MUXERS[name]
    with site(tmp_path, watch={"while_recording": ["*.*"]}) as here:
        here.agent.start()
        path = here.agent.media / name
        with pipeline(CAMERA, CODED, muxer, f"filesink location={path}") as running:
            token = here.agent.token or ""
            wait_for(
                lambda: here.server.open_uploads(token).get(name, 0) >= 4 * MIB, "it is sent", 60
            )
            running.send_signal(signal.SIGINT)
            running.wait(30)
        here.wait_until_published(1)

        assert here.published_digests() == {name: sha256(path)}
        assert here.link.sent <= path.stat().st_size + again + OVERHEAD


def test_the_recipe_tells_of_each_segment_when_it_is_closed(tmp_path):
    require("gst-launch-1.0")
    with watched_folder(tmp_path) as folder:
        device = Device(tmp_path, folder)
        device.control.start()
        try:
            shown = recipe("GStreamer").replace(
                "max-size-time=60000000000", "max-size-time=1000000000"
            )
            device.run(shown, SOURCE="videotestsrc num-buffers=30 ! " + PICTURE)
        finally:
            device.control.stop()

        states = device.folder.states()
        assert len(states) > 1
        assert set(states) == {path.name for path in device.media.iterdir()}
        assert set(states.values()) == {State.STABLE}
