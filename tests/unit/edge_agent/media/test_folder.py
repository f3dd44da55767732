"""A folder of recordings: where it is, and the place of a file in it."""

import pytest

from edge_agent.base.settings import WatchSettings
from edge_agent.core.recording import Identity
from edge_agent.media.folder import Folder, found_below

IDENTITY = Identity(device=1, inode=2, length=3, mtime_ns=4, ctime_ns=5)


@pytest.mark.parametrize(
    ("root", "path", "folder"),
    [
        (b"/media", b"/media/a.mp4", ""),
        (b"/media", b"/media/100_GO/caf\xe9/a.mp4", "100_GO/caf%E9"),
        (b"/", b"/100_GO/a.mp4", "100_GO"),
        (b"/", b"/a.mp4", ""),
        (b"/media", b"/media-2/b/a.mp4", ""),
        (b"/media", b"/home/pi/a.mp4", ""),
    ],
)
def test_a_file_keeps_its_place_below_the_folder_and_has_none_elsewhere(root, path, folder):
    found = found_below(root, path, IDENTITY)

    assert (found.folder, found.name, found.origin) == (folder, "a.mp4", "watch")


@pytest.fixture
def folder(tmp_path):
    return Folder(WatchSettings(folder=tmp_path / "media"))


def test_a_folder_that_is_not_there_says_why_and_has_no_space(folder, tmp_path):
    with pytest.raises(FileNotFoundError):
        folder.real_path()
    assert folder.space() is None

    folder.path.write_bytes(b"")
    with pytest.raises(NotADirectoryError) as refused:
        folder.real_path()
    assert refused.value.strerror == "not a folder"

    folder.path.unlink()
    folder.path.symlink_to(folder.path)
    with pytest.raises(OSError, match=r"[Ss]ymlink loop|symbolic links"):
        folder.real_path()

    folder.path.unlink()
    (tmp_path / "card").mkdir()
    folder.path.symlink_to(tmp_path / "card")
    assert folder.real_path() == (tmp_path / "card").resolve()
    assert 0 < folder.space().free <= folder.space().total


def test_new_rules_hold_at_once_and_the_place_stays(folder, tmp_path):
    folder.reconfigure(
        WatchSettings(folder=tmp_path / "other", patterns=("*.xyz",), settle_seconds=1.0)
    )

    assert folder.path == tmp_path / "media"
    assert folder.rules.names.take(b"a.XYZ")
    assert not folder.rules.names.take(b"a.mp4")
    assert folder.rules.settle.settle_s == 1.0
