"""Who holds a file open is named where it can be seen, and else how to see it."""

import os
import subprocess
import sys

import pytest

from edge_agent.media.holders import Holders
from tests.support.present import present

HOUR_S = 3600.0
PROGRAM = "import sys; file = open(sys.argv[1], sys.argv[2]); print(flush=True); sys.stdin.read()"


@pytest.fixture
def recording(tmp_path):
    made = tmp_path / "a.mp4"
    made.write_bytes(b"x")
    return made


def open_in_a_program(path, mode):
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, path, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    present(child.stdout).readline()
    return child


def detail(path, *, quiet_s=HOUR_S, holders=None, now_s=0.0):
    holders = holders or Holders()
    return holders.detail(os.fsencode(path), os.stat(path).st_ino, quiet_s=quiet_s, now_s=now_s)


def test_the_program_that_holds_it_is_named_and_since_when(recording):
    with open_in_a_program(recording, "r+b") as child, open_in_a_program(recording, "rb"):
        said = detail(recording, quiet_s=700)

    assert f"(pid {child.pid}) has it open for writing and has written nothing for 10 min" in said
    assert said.count("pid") == 1


def test_a_recorder_that_goes_on_writing_is_not_looked_for(recording, tmp_path):
    assert detail(recording, quiet_s=59, holders=Holders(tmp_path / "nowhere")) == (
        "a program has it open for writing"
    )


def test_where_nobody_can_be_seen_the_command_is_told_that_shows_it(recording):
    assert detail(recording).endswith(
        f"for 1 h or more; it is sent when it is closed; to see which: sudo fuser -v {recording}"
    )


def test_a_name_that_a_terminal_would_not_show_is_told_by_its_number(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"a\x1b[2J;rm -rf ~\xff.mp4")
    with open(path, "wb"):
        pass

    said = detail(path)

    assert f"sudo find / -inum {os.stat(path).st_ino} -exec fuser -v {{}} +" in said
    assert "rm" not in said


def test_without_proc_nothing_is_named_and_nothing_fails(recording, tmp_path):
    assert "fuser" in detail(recording, holders=Holders(tmp_path / "nowhere"))


def test_one_look_serves_for_a_minute(recording):
    holders = Holders()
    before = detail(recording, holders=holders)

    with open_in_a_program(recording, "r+b") as child:
        soon = detail(recording, holders=holders, now_s=59.0)
        later = detail(recording, holders=holders, now_s=61.0)

    assert before == soon
    assert f"pid {child.pid}" in later


@pytest.mark.parametrize("has_inodes", [True, False])
def test_no_file_that_a_program_holds_is_touched(tmp_path, recording, has_inodes):
    """What /proc says is made here: a link in it that was followed would lead to the recording."""
    proc = tmp_path / "proc" / "7"
    (proc / "fd").mkdir(parents=True)
    (proc / "fdinfo").mkdir()
    (proc / "comm").write_text("recorder\n")
    inode = recording.stat().st_ino
    (proc / "fd" / "3").symlink_to(recording)
    (proc / "fdinfo" / "3").write_text(
        "pos:\t0\nflags:\t0100002\nmnt_id:\t29\n" + f"ino:\t{inode}\n" * has_inodes
    )
    recording.unlink()

    said = Holders(proc.parent).detail(os.fsencode(recording), inode, quiet_s=HOUR_S, now_s=0.0)

    assert "recorder (pid 7) has it open for writing" in said
