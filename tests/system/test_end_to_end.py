"""Real programs, real sockets, real recordings: from the camera's folder to ``published/``."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.camera import Camera
from tests.support.processes import wait_for
from tests.support.recordings import make_recording, sha256
from tests.support.requirements import require
from tests.support.site import Broker, Listener, Site, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def broker(tmp_path):
    require("mosquitto")
    one = Broker(tmp_path / "broker")
    one.start()
    yield one
    one.close()


def _last_of_nothing_to_do(operator):
    last = operator.documents("state")[-1]
    return last if last["state"] == "idle" and last["queue"]["files"] == 0 else None


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
def test_a_recording_is_published_as_recorded_and_an_operator_sees_it_happen(
    tmp_path, broker, kind
):
    name = f"flight.{kind}"
    with Listener(broker) as operator, site(tmp_path, mqtt={"url": broker.url}) as here:
        here.agent.start()
        camera = Camera(here.agent.media / name, seconds=4)
        wait_for(
            lambda: any(
                document["blocked_by"] == "still_recording"
                for document in operator.documents("state")
            ),
            "an operator sees that it is still being recorded",
        )
        camera.wait()
        here.wait_until_published(1)
        wait_for(lambda: "file.completed" in operator.events(name), "the completed event")
        last = wait_for(lambda: _last_of_nothing_to_do(operator), "nothing is left")

        assert here.published_digests() == {name: sha256(camera.path)}
        told = operator.events(name)
        assert told == ["file.discovered", "file.started", "file.completed"]
        completed = next(
            document["data"]
            for document in operator.documents("event")
            if document["type"].endswith("file.completed")
        )
        assert completed["length"] == camera.path.stat().st_size
        assert here.server.published / completed["published_as"] in here.server.published_files()
        [file] = here.server.published_files()
        assert file.stat().st_mtime == int(camera.path.stat().st_mtime)
        assert last["blocked_by"] is None
        assert set(last["problems"]) <= {"clock_unsynced"}  # a container has no time server


def test_a_log_that_goes_on_after_it_was_sent_is_published_beside_it_and_says_what_it_follows(
    tmp_path, broker
):
    with Listener(broker) as operator, site(tmp_path, mqtt={"url": broker.url}) as here:
        here.agent.start()
        log = here.agent.media / "gps.csv"
        log.write_bytes(b"12:00:00,48.1,11.5\n")
        here.wait_until_published(1)
        with log.open("ab") as file:
            file.write(b"12:00:09,48.2,11.5\n")
        here.wait_until_published(2)
        wait_for(lambda: operator.events("gps.csv").count("file.completed") == 2, "both are told")

        told = [
            document["data"]
            for document in operator.documents("event")
            if document["type"].endswith("file.completed")
        ]
        earlier, later = told
        assert (earlier["supersedes"], later["supersedes"]) == (None, earlier["published_as"])
        assert (here.server.published / later["published_as"]).read_bytes() == log.read_bytes()


def test_two_cameras_at_once_are_both_published(tmp_path):
    with site(tmp_path) as here:
        here.agent.start()

        cameras = [
            Camera(here.agent.media / folder / f"{folder}.mp4", seconds=2)
            for folder in ("front", "down")
        ]
        for camera in cameras:
            camera.wait()
        here.wait_until_published(2)

        assert here.published_digests() == {one.path.name: sha256(one.path) for one in cameras}


def test_a_file_whose_front_is_rewritten_at_the_end_is_published_as_it_ended(tmp_path):
    """``faststart`` moves every byte of a finished recording."""
    ffmpeg = require("ffmpeg")
    with site(tmp_path) as here:
        here.agent.start()
        path = here.agent.media / "moved.mp4"

        _ffmpeg(ffmpeg, "-re", *_picture(3), "-movflags", "+faststart", path)
        here.wait_until_published(1)

        assert here.published_digests() == {path.name: sha256(path)}


def test_each_segment_of_a_recorder_is_published_once(tmp_path):
    ffmpeg = require("ffmpeg")
    with site(tmp_path) as here:
        here.agent.start()
        media = here.agent.media

        _ffmpeg(
            ffmpeg,
            *("-re", *_picture(4), "-g", "25", "-f", "segment", "-segment_time", "1"),
            *("-reset_timestamps", "1", media / "part-%03d.mp4"),
        )
        segments = sorted(media.iterdir())
        here.wait_until_published(len(segments))

        assert len(segments) >= 3
        assert here.published_digests() == {path.name: sha256(path) for path in segments}


@pytest.mark.parametrize(
    "name",
    ["crash.mp4", *(pytest.param(one, marks=pytest.mark.nightly) for one in ("a.ts", "a.mkv"))],
)
def test_a_camera_whose_battery_is_pulled_leaves_a_recording_that_is_published_and_marked(
    tmp_path, name
):
    with site(tmp_path) as here:
        here.agent.start()
        camera = Camera(here.agent.media / name, seconds=30)
        wait_for(lambda: camera.path.exists() and camera.path.stat().st_size > 500_000, "a start")

        camera.kill()
        here.wait_until_published(1)

        assert here.published_digests() == {name: sha256(camera.path)}
        is_marked = '"unfinalised": "true"' in told_of_the_only_recording(here)
        assert is_marked == (name != "a.ts"), "a transport stream is whole wherever it ends"


def told_of_the_only_recording(here: Site) -> str:
    """Return what the server was told of it beside its bytes."""
    with closing(sqlite3.connect(here.server.data_dir / "state.db")) as connection:
        [(metadata,)] = connection.execute("SELECT metadata FROM uploads").fetchall()
    return metadata


def test_a_verified_recording_is_deleted_on_the_device_where_that_is_asked_for(tmp_path):
    with site(tmp_path, retention={"delete": "after_verified"}) as here:
        recording = make_recording(here.agent.media / "flight.mp4")
        digest = sha256(recording)
        here.agent.start()

        wait_for(lambda: not recording.exists(), "the recording is let go")

        assert here.published_digests() == {"flight.mp4": digest}


def test_sigterm_ends_both_programs_in_time_with_an_upload_under_way(tmp_path):
    with site(tmp_path, upload={"max_rate": "500KB"}) as here:
        make_recording(here.agent.media / "flight.mp4", seconds=10)
        here.agent.start()
        wait_for(lambda: here.link.sent > 300_000, "the upload is under way")

        assert here.agent.stop(5.0) == 0
        assert here.server.stop(10.0) == 0


def _picture(seconds: int) -> list[str]:
    source = f"testsrc2=size=640x360:rate=25:duration={seconds}"
    return ["-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast"]


def _ffmpeg(ffmpeg: Path, *arguments: object) -> None:
    subprocess.run(
        [ffmpeg, "-nostdin", "-v", "error", *map(str, arguments)], check=True, timeout=60
    )
