"""A recorder of another user says what is finished, at a socket of its own, and can do nothing else there."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.operate.asked import say_finished_at
from edge_agent.operate.control_client import ControlError
from tests.support.processes import wait_for
from tests.support.recordings import sha256
from tests.support.requirements import require_root
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

_AS_SYSTEMD = """
import os, socket, sys
path, group, *command = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(16)
os.chown(path, 0, int(group))
os.chmod(path, 0o660)
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(command[0], command)
"""
GROUP, OTHER = 65533, 65534
"""Of the recorder, and of somebody else."""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("site")
    require_root()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        # A recording counts as finished when its recorder says so, or after an hour.
        with site(tmp_path, watch={"settle_seconds": 3600.0}) as made:
            made.hooks = hooks = Path(folder) / "hooks"
            as_systemd = [sys.executable, "-c", _AS_SYSTEMD, hooks, str(GROUP)]
            made.agent.command = [*as_systemd, *made.agent.command]
            made.agent.start()
            wait_for(made.agent.state_if_any, "the agent answers")
            yield made


@contextmanager
def as_user(group):
    """Be another user, of *group* alone, meanwhile."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(group)
    os.seteuid(OTHER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def say(here, request):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(here.hooks))
        client.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(client.makefile().readline())


def test_a_recorder_of_another_user_says_that_a_recording_is_finished(here):
    recording = here.agent.media / "A.mp4"
    recording.write_bytes(os.urandom(50_000))

    with as_user(GROUP):
        lines, are_all = say_finished_at(here.hooks, [recording])
    wait_for(lambda: "A.mp4" in here.published_digests(), "it has arrived")

    assert are_all
    assert lines == [f"{recording}: it counts as finished"]
    assert here.published_digests()["A.mp4"] == sha256(recording)


def test_the_command_of_a_hook_takes_the_socket_and_no_configuration(here):
    recording = here.agent.media / "B.mp4"
    recording.write_bytes(os.urandom(50_000))
    command = [*here.agent.program, "upload", "--finished", "--socket", here.hooks, recording]

    done = subprocess.run(
        [*command, "--config", "/none.toml"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    alone = subprocess.run(
        [*here.agent.program, "upload", "--socket", here.hooks, recording],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{recording}: it counts as finished\n"
    assert alone.returncode == 1
    assert "--socket goes with --finished" in alone.stderr


def test_who_is_not_of_its_group_is_refused_in_a_sentence(here):
    with as_user(OTHER), pytest.raises(ControlError, match="cannot be asked: Permission denied"):
        say_finished_at(here.hooks, [here.agent.media / "A.mp4"])


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "status"},
        {"do": "upload", "paths": ["/etc/shadow"], "now": True},
        {"do": "pause"},
        {},
    ],
)
def test_nothing_else_is_answered_there(here, request_):
    assert say(here, request_)["error"].startswith(
        "here a recorder says that a recording is finished"
    )
    assert here.agent.state()["paused"] is False


def test_nobody_learns_there_what_lies_elsewhere(here, tmp_path):
    secret = here.agent.folder / "token"
    by_dots = f"{here.agent.media}/../token"
    (tmp_path / "link").symlink_to(here.agent.media)

    answers = [
        say(here, {"do": "finished", "paths": [str(path)]})
        for path in (secret, by_dots, tmp_path / "link" / "A.mp4", tmp_path / "none.mp4")
    ]

    assert {answer["taken"] for answer in answers} == {False}
    assert len({answer["message"] for answer in answers}) == 1
    assert answers[0]["message"].startswith("by this path it is in none of the watched folders")


def test_a_link_in_the_watched_folder_tells_nobody_where_it_leads(here, tmp_path):
    (tmp_path / "newest").symlink_to(tmp_path / "secret.mp4")
    link = here.agent.media / "C.mp4"
    link.symlink_to(tmp_path / "newest")

    answer = say(here, {"do": "finished", "paths": [str(link)]})

    assert (answer["path"], answer["taken"]) == (str(link), False)
    assert answer["message"].startswith("by this path it is in none of the watched folders")


@pytest.mark.parametrize(
    ("paths", "why"),
    [(["/"] * 10_001, "1 to 10000 paths"), (["/" * 131_072], "more than 131072 bytes")],
)
def test_a_request_without_measure_is_refused_before_anything_is_looked_up(here, paths, why):
    assert why in say(here, {"do": "finished", "paths": paths})["error"]
