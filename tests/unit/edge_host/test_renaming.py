"""`edge_host.renaming`: a file that is there is never replaced."""

import os

import pytest

from edge_host.renaming import rename_if_free


@pytest.fixture
def folders(tmp_path):
    names = ("here", "there")
    for name in names:
        (tmp_path / name).mkdir()
    opened = [os.open(tmp_path / name, os.O_RDONLY) for name in names]
    (tmp_path / "here/clip.mp4").write_bytes(b"a recording")
    yield opened
    for fd in opened:
        os.close(fd)


def test_a_file_is_never_renamed_over_another(tmp_path, folders):
    here, there = folders
    (tmp_path / "there/other.mp4").write_bytes(b"another")

    with pytest.raises(FileExistsError):
        rename_if_free(b"clip.mp4", b"other.mp4", src_dir_fd=here, dst_dir_fd=there)

    assert (tmp_path / "there/other.mp4").read_bytes() == b"another"
    assert (tmp_path / "here/clip.mp4").read_bytes() == b"a recording"


def test_a_free_name_is_taken_in_the_same_folder_and_in_another(tmp_path, folders):
    here, there = folders

    assert rename_if_free(b"clip.mp4", b"new.mp4", src_dir_fd=here, dst_dir_fd=here)
    assert rename_if_free(b"new.mp4", b"moved.mp4", src_dir_fd=here, dst_dir_fd=there)

    assert (tmp_path / "there/moved.mp4").read_bytes() == b"a recording"
    assert os.listdir(tmp_path / "here") == []


def test_where_the_kernel_has_no_such_call_nothing_is_done(tmp_path, folders, monkeypatch):
    here, there = folders
    monkeypatch.setattr("edge_host.renaming._renameat2", None)

    assert not rename_if_free(b"clip.mp4", b"new.mp4", src_dir_fd=here, dst_dir_fd=there)

    assert os.listdir(tmp_path / "here") == ["clip.mp4"]
