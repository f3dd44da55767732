"""The folder of published files, where what has its name changes while a server runs."""

import os
from contextlib import contextmanager

import pytest

from ingest_server.storage.files.held_folder import HeldFolder
from tests.support.file_systems import tmpfs

OPEN = os.O_RDONLY | os.O_DIRECTORY


@contextmanager
def holding(root, *, is_volume=False):
    """Yield the folder and what its descriptor reads."""
    (root / "published").mkdir()
    fds = [os.open(root, OPEN), os.open(root / "published", OPEN)]
    try:
        yield HeldFolder(fds[0], "published", 0o750, fds[1], is_volume=is_volume), fds[1]
    finally:
        for fd in fds:
            os.close(fd)


def test_as_long_as_it_is_there_it_is_held(tmp_path):
    with holding(tmp_path) as (folder, fd):
        (tmp_path / "published" / "a").touch()
        folder.renew()

        assert os.listdir(fd) == ["a"]


def test_one_that_is_gone_is_made_with_its_mode_and_held(tmp_path):
    with holding(tmp_path) as (folder, fd):
        (tmp_path / "published").rmdir()
        folder.renew()
        (tmp_path / "published" / "b").touch()

        assert os.listdir(fd) == ["b"]
        assert (tmp_path / "published").stat().st_mode & 0o777 == 0o750
        assert not os.get_inheritable(fd)


@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_or_a_link_is_no_folder_and_nothing_changes(tmp_path, is_link):
    with holding(tmp_path) as (folder, fd):
        (tmp_path / "published").rename(tmp_path / "taken")
        if is_link:
            (tmp_path / "published").symlink_to("/etc")
        else:
            (tmp_path / "published").touch()

        with pytest.raises(OSError, match="published is no folder any more"):
            folder.renew()

        (tmp_path / "taken" / "c").touch()
        assert os.listdir(fd) == ["c"]


def test_a_volume_that_came_since_wants_a_restart(tmp_path):
    with (
        holding(tmp_path) as (folder, _),
        tmpfs(tmp_path / "published"),
        pytest.raises(OSError, match="another volume since the server started"),
    ):
        folder.renew()


def test_one_that_was_a_volume_is_not_stood_in_for(tmp_path):
    with holding(tmp_path, is_volume=True) as (folder, _):
        (tmp_path / "published").rename(tmp_path / "taken")

        with pytest.raises(OSError, match="mount it, then restart"):
            folder.renew()

        assert not (tmp_path / "published").exists()
