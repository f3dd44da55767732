"""``edge-agent upload`` alone and beside a running agent, and ``status`` before, while and after one runs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess

import pytest

from tests.support.agent_program import MB, PROGRAM, events, recording, run, start
from tests.support.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_status_before_the_first_run_says_so(agent):
    done = run(agent, "status")

    assert done.returncode == 1
    assert "no agent has run with this state_dir yet" in done.stderr


def test_status_of_a_running_and_of_a_stopped_agent(agent):
    start(agent)
    recording(agent.media / "a.mp4")
    wait_for(lambda: "upload.verified" in events(agent), "the upload")
    running = run(agent, "status")
    document = json.loads(run(agent, "status", "--json").stdout)
    agent.stop()
    stopped = run(agent, "status")

    assert running.returncode == stopped.returncode == 0
    assert "published as" in running.stdout
    assert document["state"]["totals"]["files_done"] == 1
    assert stopped.stdout.startswith("The agent is not running.")
    assert "a.mp4" in stopped.stdout


def test_upload_alone_sends_and_keeps_and_is_0_only_when_all_are_verified(agent, server, tmp_path):
    first = recording(tmp_path / "alone-1.mp4")
    second = recording(tmp_path / "alone-2.bin")

    good = run(agent, "upload", first, second)
    again = run(agent, "upload", first)
    bad = run(agent, "upload", first, tmp_path / "absent.mp4")

    assert good.returncode == 0, good.stderr + good.stdout
    assert again.returncode == 0
    assert bad.returncode == 1
    assert "absent.mp4: No such file or directory" in bad.stdout
    published = {path.name: path.read_bytes() for path in server.published_files()}
    assert published["alone-1.mp4"] == first.read_bytes()
    assert published["alone-2.bin"] == second.read_bytes()
    assert [name for name in published if name.startswith("alone")] == [
        "alone-1.mp4",
        "alone-2.bin",
    ]


@pytest.mark.parametrize(
    ("order", "way_out"), [(["pause"], "resume"), (["hold", "--reason", "armed"], "release")]
)
def test_upload_alone_says_what_to_run_where_nobody_could_end_what_keeps_it(
    agent, server, tmp_path, order, way_out
):
    wanted = recording(tmp_path / f"{way_out}-first.mp4")
    assert run(agent, *order).returncode == 0

    kept = run(agent, "upload", "--now", wanted)
    assert run(agent, way_out).returncode == 0
    sent = run(agent, "upload", "--now", wanted)

    assert kept.returncode == 1
    assert f'Run "edge-agent {way_out}" first' in kept.stderr
    assert sent.returncode == 0
    assert wanted.name in {path.name for path in server.published_files()}


def test_upload_beside_a_running_agent_hands_over_and_never_deletes(agent, server, tmp_path):
    agent.configure(retention={"delete": "after_verified"})
    start(agent)
    file = recording(tmp_path / "beside.mp4")

    done = run(agent, "upload", file)

    assert done.returncode == 0, done.stderr + done.stdout
    assert "verified, published as" in done.stdout
    assert file.exists()
    assert agent.child.ended() is None
    assert "beside.mp4" in {path.name for path in server.published_files()}


@pytest.mark.parametrize("is_alone", [True, False])
def test_upload_now_sends_what_a_program_has_open_as_it_is(agent, server, tmp_path, is_alone):
    name = f"now-{is_alone}.mp4"
    if not is_alone:
        start(agent)
    with (tmp_path / name).open("wb") as file:
        file.write(content := os.urandom(MB))
        file.flush()

        done = run(agent, "upload", "--now", tmp_path / name)

    assert done.returncode == 0, done.stderr + done.stdout
    (published,) = [path for path in server.published_files() if path.name == name]
    assert published.read_bytes() == content


def test_an_interrupted_upload_goes_on_where_it_was(agent, server, token, tmp_path):
    file = recording(tmp_path / "interrupted.mp4", 12 * MB)
    slow = [*PROGRAM, "upload", "--config", agent.config, "--max-rate", "2MB", file]
    command, pipe = [str(one) for one in slow], subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
        wait_for(
            lambda: server.open_uploads(token).get("interrupted.mp4", 0) > MB, "a part of the file"
        )
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=10)
    assert process.returncode == 130, complaint
    held = server.open_uploads(token)["interrupted.mp4"]

    done = run(agent, "upload", file)

    assert b"the same command goes on from there" in complaint
    assert b"Traceback" not in complaint
    assert 0 < held < 12 * MB
    assert done.returncode == 0, done.stdout
    (published,) = [one for one in server.published_files() if one.name == "interrupted.mp4"]
    assert published.read_bytes() == file.read_bytes()


def test_ctrl_c_while_the_program_still_loads_shows_no_traceback(agent, tmp_path):
    (tmp_path / "pydantic.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )

    done = run(agent, "upload", "a.mp4", env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""


def test_on_a_terminal_there_is_a_progress_bar(agent, tmp_path):
    file = recording(tmp_path / "bar.mp4", 6 * MB)
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "upload", "--config", agent.config, "--max-rate", "3MB", file]
    with subprocess.Popen([str(one) for one in command], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # EIO: the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)

    text = shown.decode()
    assert process.returncode == 0, text
    assert "[####" in text
    assert "MB/s" in text or "bandwidth" in text
    assert "bar.mp4: verified" in text
