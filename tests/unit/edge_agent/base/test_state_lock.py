"""One agent has a state folder at a time."""

import os
import subprocess
import sys

import pytest

from edge_agent.base.state_lock import AlreadyRunningError, StateDirError, StateLock
from tests.support.small_disk import small_disk


def test_a_second_agent_is_told_who_has_the_state_folder(tmp_path):
    first = StateLock(tmp_path / "state")

    with pytest.raises(AlreadyRunningError, match=rf"\(pid {os.getpid()}\)"):
        StateLock(tmp_path / "state")
    first.close()

    StateLock(tmp_path / "state").close()


def test_the_lock_ends_with_its_process(tmp_path):
    code = f"import os; from edge_agent.base.state_lock import *; from pathlib import Path; StateLock(Path({str(tmp_path)!r})); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=30)

    StateLock(tmp_path).close()


def test_a_state_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(
        StateDirError,
        match=r"by this user: Not a directory; make it a folder of .* can be written, or",
    ):
        StateLock(tmp_path / "file" / "state")


def test_a_folder_on_a_disk_that_takes_no_more_files_is_locked_all_the_same(tmp_path):
    with small_disk(tmp_path / "disk", size="1m", inodes=3) as disk:
        state = disk.path / "state"
        state.mkdir()
        (disk.path / "last").touch()
        first = StateLock(state)

        with pytest.raises(AlreadyRunningError, match="another agent is running"):
            StateLock(state)
        (disk.path / "last").unlink()
        with pytest.raises(AlreadyRunningError, match="another agent is running"):
            StateLock(state)
        first.close()

        StateLock(state).close()


def test_a_folder_for_which_there_is_no_room_asks_for_room(tmp_path):
    with (
        small_disk(tmp_path / "disk", size="1m", inodes=1) as disk,
        pytest.raises(
            StateDirError, match=r"No space left on device; its disk takes .* make room there, or"
        ),
    ):
        StateLock(disk.path / "state")
