"""The recipes of docs/recorders.md, taken from that page and run with the agent's control socket."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest

from edge_agent.core.upload import State
from edge_agent.operate.commands import Commands
from edge_agent.operate.control_socket import ControlServer
from tests.support.pages import of_stage
from tests.support.processes import wait_for
from tests.support.requirements import require
from tests.support.rim import WatchedFolder, watched_folder

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "recorders.md"


def recipe(recorder: str) -> str:
    """Return the lines that the page shows for *recorder*."""
    [shown] = re.findall(
        rf"^### {re.escape(recorder)}$.*?^```\w+\n(.*?)^```$",
        PAGE.read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return shown


class Device:
    """A watched folder, its control socket, and `edge-agent` where a hook looks for it."""

    def __init__(self, base: Path, folder: WatchedFolder) -> None:
        self.folder, self.media = folder, folder.media
        (base / "state").mkdir()
        (base / "bin").mkdir()
        program = base / "bin" / "edge-agent"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edge_agent "$@"\n')
        program.chmod(0o755)
        config = base / "agent.toml"
        config.write_text(
            f'device_id = "cam"\nstate_dir = "{base}/state"\n[watch]\nfolder = "{self.media}"\n'
            '[server]\nurl = "http://127.0.0.1:1"\n'
        )
        self.variables = {
            **os.environ,
            "PATH": f"{base}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(PAGE.parents[1]),
            "EDGE_AGENT_CONFIG": str(config),
        }
        desk = Commands(
            folder.store,
            folder.activity,
            dict,
            folders=folder.folders,
            wake_watcher=folder.watcher.wake,
            announce=folder.watcher.announce,
        )
        self.control = ControlServer(base / "state" / "control.sock", desk)
        self.bin = base / "bin"

    def run(self, command: str, **variables: str) -> str:
        """Run *command* as a shell in the watched folder does; return what it prints."""
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.media,
            env=self.variables | variables,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.folder.watcher.step(self.folder.clock.now)
        return done.stdout


@pytest.fixture
def device(tmp_path):
    with watched_folder(tmp_path) as folder:
        made = Device(tmp_path, folder)
        made.control.start()
        yield made
        made.control.stop()


def test_each_recipe_that_the_page_says_is_run_is_run_below():
    [shown] = of_stage("recorders").values()

    assert [block.text for block in shown] == [
        recipe(one) for one in ("ffmpeg", "GStreamer", "rpicam-vid")
    ]


@pytest.mark.parametrize("name", ["2026-11-29 10-15-00.mp4", 'it\'s "$HOME" `id`;#.mp4'])
def test_mediamtx_tells_of_a_segment(device, tmp_path, name):
    path = device.folder.write(f"cam/{name}")
    said_by = {"MTX_PATH": "cam", "RTSP_PORT": "8554", "MTX_SEGMENT_DURATION": "60.04"}
    variables = device.variables | said_by | {"MTX_SEGMENT_PATH": str(path)}
    # As it does: it cuts the line into words, puts its variables into each, and starts that without a shell,
    # from a folder of its own.
    words = shlex.split(recipe("MediaMTX").partition(": ")[2])
    program, *words = [Template(one).substitute(variables) for one in words]

    done = subprocess.run(
        [device.bin / program, *words],
        cwd=tmp_path,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    device.folder.watcher.step(device.folder.clock.now)

    assert (done.returncode, done.stdout) == (0, f"{path}: it counts as finished\n"), done.stderr
    assert device.folder.states() == {path.name: State.STABLE}


def test_motion_tells_of_a_movie(device):
    path = device.folder.write("01-20261129101500.mkv")
    hook = recipe("motion").partition(" ")[2]

    device.run(hook.replace("%f", str(path)))

    assert device.folder.states() == {path.name: State.STABLE}


def test_ffmpeg_tells_of_each_segment(device, tmp_path):
    ffmpeg, source = require("ffmpeg"), tmp_path / "source.mkv"
    made = "-nostdin -loglevel error -f lavfi -i testsrc=s=64x64:r=5:d=3 -c:v mpeg4 -g 5"
    subprocess.run([ffmpeg, *made.split(), source], check=True, timeout=60)

    device.run(recipe("ffmpeg").replace("-segment_time 60", "-segment_time 1"), SOURCE=str(source))

    assert list(device.folder.states().values()) == [State.STABLE] * 3


def test_a_script_tells_of_what_rpicam_vid_has_written(device):
    # As it behaves: it opens the final name, appends, and ends.
    camera = device.bin / "rpicam-vid"
    camera.write_text('#!/bin/sh\nfor name; do :; done\nprintf frames >"$name"\n')
    camera.chmod(0o755)

    device.run(recipe("rpicam-vid"))

    assert list(device.folder.states().values()) == [State.STABLE]


@pytest.mark.nightly
def test_motion_itself_tells_of_each_movie_that_it_has_closed(device, tmp_path):
    motion, ffmpeg, source = require("motion"), require("ffmpeg"), tmp_path / "camera.mkv"
    made = "-nostdin -loglevel error -f lavfi -i testsrc=s=320x240:r=5:d=600 -c:v mpeg4 -g 5"
    subprocess.run([ffmpeg, *made.split(), source], check=True, timeout=120)
    config = tmp_path / "motion.conf"
    of_ours = f"target_dir {device.media}\nnetcam_url file://{source}\nlog_level 5\n"
    config.write_text(
        "daemon off\nwebcontrol_port 0\nstream_port 0\nwidth 320\nheight 240\nframerate 5\n"
        "emulate_motion on\npicture_output off\nmovie_output on\nmovie_max_time 5\n"
        + of_ours
        + recipe("motion")
    )
    command = [motion, "-n", "-c", config]
    with (tmp_path / "motion.log").open("wb") as log:
        camera = subprocess.Popen(command, env=device.variables, stdout=log, stderr=log)
    try:

        def finished() -> list[str]:
            device.folder.watcher.step(device.folder.clock.now)
            return [name for name, state in device.folder.states().items() if state is State.STABLE]

        names = wait_for(finished, "it has told of a movie", 60, every_s=0.5)
    finally:
        camera.terminate()
        camera.wait(20)

    # In the time that this folder has no second has passed: it was not its quiet time that ended it.
    assert [Path(one).suffix for one in names] == [".mkv"]
