"""What can be known of the files in the watched folder, tried there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.base.settings import WatchSettings
from edge_agent.media.folder import Folder
from edge_agent.operate.checks.folders import check_folder, check_open_files, check_state_dir


@contextmanager
def as_another_user() -> Iterator[Path]:
    """Yield a folder that another user may write to, and be that user meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        Path(folder, "camera.mp4").write_bytes(b"x")
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_the_kernel_says_of_ones_own_files_is_not_taken_for_the_cameras():
    with as_another_user() as folder:
        found = check_open_files(folder, may_write=True, recursive=True)

    assert found.level == "WARN"
    assert "they belong to another user" in found.text


def test_without_a_recording_and_without_write_access_leases_cannot_be_tried(tmp_path):
    found = check_open_files(tmp_path, may_write=False, recursive=True)

    assert found.level == "WARN"
    assert "check again when there is one" in found.text


def failures(folder: Path) -> list[str]:
    watched = Folder(WatchSettings(folder=folder))
    return [one.text for one in check_folder(watched, deletes=True) if one.level == "FAIL"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_subfolder_that_nothing_can_be_deleted_from_is_found():
    with as_another_user() as folder:
        before = failures(folder)
        os.seteuid(0)
        (folder / "DCIM/100MEDIA").mkdir(parents=True)
        (folder / "DCIM").chmod(0o777)
        os.seteuid(65534)
        after = failures(folder)

    assert before == []
    assert after == [
        f"verified recordings cannot be deleted from {folder}/DCIM/100MEDIA: give this user write"
        ' access to it, or set [retention] delete = "never"'
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_sticky_folder_with_recordings_of_the_camera_is_found():
    with as_another_user() as folder:
        os.seteuid(0)
        folder.chmod(0o1777)
        os.seteuid(65534)
        [failure] = failures(folder)

    assert f"cannot be deleted from {folder}: only who owns them may (the sticky bit)" in failure


def test_a_check_leaves_no_folder_of_whoever_checks(tmp_path):
    [found] = check_state_dir(tmp_path / "state")

    assert found.level == "OK"
    assert list(tmp_path.iterdir()) == []


def test_a_check_leaves_a_folder_that_was_there(tmp_path):
    [found] = check_state_dir(tmp_path)

    assert found.level == "OK"
    assert tmp_path.is_dir()
