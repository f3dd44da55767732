"""Which files of the folder are recordings."""

import os

import pytest

from edge_agent.core.upload import State
from edge_agent.media.folder import NameRules
from edge_agent.media.scan import Scan, is_gone


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        (b"a.mp4", True),
        (b"DJI_0001.MP4", True),
        (b"caf\xe9.mp4", True),
        (b"a\nb.mp4", True),
        (b".mp4", False),
        (b".hidden.mp4", False),
        (b"a.mp4.tmp", False),
        (b"a.mp4.part", False),
        (b"~a.mp4", False),
        (b"a.exe", False),
        (b"amp4", False),
    ],
)
def test_patterns_decide_by_name_upper_or_lower_case_alike(name, is_taken):
    rules = NameRules(["*.mp4"], ["*.tmp", "*.part", "~*"])

    assert rules.take(name) is is_taken


def test_only_regular_files_inside_the_folder_are_found(tmp_path):
    (tmp_path / "root/sub/.trash").mkdir(parents=True)
    (tmp_path / "root/lost+found").mkdir()
    (tmp_path / "outside").mkdir()
    for name in ("a.mp4", "sub/b.mp4", "sub/.trash/c.mp4", "lost+found/d.mp4"):
        (tmp_path / "root" / name).write_bytes(b"x")
    (tmp_path / "outside/e.mp4").write_bytes(b"x")
    (tmp_path / "root/link.mp4").symlink_to(tmp_path / "outside/e.mp4")
    (tmp_path / "root/linked").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "root/fifo.mp4")
    root = os.fsencode(tmp_path / "root")

    every = {path for path, _ in Scan(root, NameRules(["*"], []), recursive=True)}
    flat = {path for path, _ in Scan(root, NameRules(["*"], []), recursive=False)}

    assert every == {root + b"/a.mp4", root + b"/sub/b.mp4"}
    assert flat == {root + b"/a.mp4"}


def test_what_is_on_its_way_out_is_no_recording_and_whoever_put_it_there_is_told(folder):
    leaving = folder.write("day/.edge-agent-leaving-a.mp4")
    told: list[bytes] = []
    folder.watcher.on_aside = told.extend

    folder.look()

    assert set(told) == {os.fsencode(leaving)}
    assert folder.states() == {}


def test_a_folder_swapped_for_a_link_takes_its_recordings_away(folder, tmp_path):
    recording = folder.write("day/a.mp4")
    folder.settle()
    recording.parent.rename(tmp_path / "moved")
    recording.parent.symlink_to(tmp_path / "moved")

    folder.settle()

    assert folder.states() == {"a.mp4": State.FAILED}


def test_a_file_is_gone_only_if_its_own_file_system_is_there_to_say_so(tmp_path):
    device = tmp_path.stat().st_dev
    present = tmp_path / "a"
    present.write_bytes(b"")

    assert not is_gone(os.fsencode(present), device)
    assert is_gone(os.fsencode(tmp_path / "b"), device)
    assert is_gone(os.fsencode(tmp_path / "no/such/folder/b"), device)
    assert not is_gone(os.fsencode(tmp_path / "b"), device + 1)
