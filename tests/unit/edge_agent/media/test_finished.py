"""When a recording is finished: after a pause, and by each rule on each kind of file system. In virtual time."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from edge_agent.core.upload import State
from edge_agent.media.identity import identity_at
from tests.support.announcing import KnowsNothing, finished
from tests.support.file_systems import disk_image, fuse, overlay
from tests.support.present import present
from tests.support.rim import watched_folder


@pytest.mark.parametrize("knows", [True, False])
def test_a_camera_that_flushes_every_30_s_is_not_cut_off(folder, knows):
    if not knows:
        folder.restart(KnowsNothing())
    path = folder.media / "recorder_20261129_101500.mcap"
    with path.open("ab") as file:
        for _ in range(20):
            file.write(b"half a minute of it")
            file.flush()
            folder.watcher.wake()
            folder.pass_time(30.0)
            assert State.STABLE not in folder.states().values()
        file.write(b"footer")
    folder.watcher.wake()
    folder.pass_time(200.0)

    assert folder.only().state is State.STABLE
    assert folder.only().identity.length == path.stat().st_size


def test_a_file_that_fat_numbers_anew_at_each_look_is_quiet_all_the_same(folder):
    path = os.fsencode(folder.write("a.mp4"))
    folder.watcher.step(folder.clock.now)
    found = present(identity_at(path))

    for after_s in (2.0, 4.0, 6.0):
        anew = replace(found, inode=found.inode + int(after_s))
        folder.settler.look(path, anew, folder.clock.now + after_s)
    folder.settler.commit()

    assert folder.only().state is State.STABLE


@pytest.mark.parametrize("kind", ["ext4", "overlay", "FUSE"])
def test_each_rule_holds_on_each_kind_of_file_system(tmp_path, kind):
    media = tmp_path / "media"
    made = {
        "ext4": lambda: disk_image("ext4", media),
        "overlay": lambda: overlay(media, upper=tmp_path / "layers" / "upper"),
        "FUSE": lambda: fuse(media, below=tmp_path / "below"),
    }
    with made[kind](), watched_folder(tmp_path, lock_markers=[".lock"]) as folder:
        announced, locked = folder.write("announced.mp4"), folder.write("locked.mp4")
        quiet, opened = folder.write("quiet.mp4"), folder.write("opened.mp4")
        folder.write("locked.mp4.lock", b"")
        with opened.open("ab"):
            folder.watcher.step(folder.clock.now)
            answers = finished(folder, announced, locked, opened)
            at_once = folder.states()
            folder.watcher.wake()
            folder.pass_time(6.0)
            after_quiet = folder.states()

    # Only where each write goes through this kernel a writer outweighs what the recorder says.
    is_believed = kind == "ext4"
    assert [taken for taken, _ in answers] == [True, True, True]
    assert at_once["announced.mp4"] is State.STABLE
    assert (at_once["opened.mp4"] is State.STABLE) is not is_believed
    assert after_quiet["locked.mp4"] is State.SEEN
    assert (after_quiet[quiet.name] is State.STABLE) is is_believed
