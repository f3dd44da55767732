"""Several watched folders: whose a path is, which come and go, and what may not lie in another."""

import os
import subprocess

import pytest

from edge_agent.base.settings import WatchSettings
from edge_agent.core.recording import Share
from edge_agent.core.upload import State
from edge_agent.media.folders import Folders
from tests.support.agent_store import another_program, found, open_store
from tests.support.requirements import require_root


def settings(tmp_path, *names, **more):
    return [WatchSettings(name=name, folder=tmp_path / name, **more) for name in names]


@pytest.fixture
def folders(tmp_path):
    for name in ("front", "rear"):
        (tmp_path / name).mkdir()
    return Folders(settings(tmp_path, "front", "rear"))


def test_a_path_is_of_the_folder_that_it_lies_in(folders, tmp_path):
    link = tmp_path / "card"
    link.symlink_to(tmp_path / "rear")
    folders.reconfigure([*settings(tmp_path, "front"), WatchSettings(name="rear", folder=link)])

    def name(path):
        holding = folders.holding(os.fsencode(tmp_path / path))
        return None if holding is None else holding.name

    assert [name(one) for one in ("front/a", "rear/b/c", "front-of-house/a", "a")] == [
        "front",
        "rear",
        None,
        None,
    ]


def test_a_folder_that_stays_is_the_same_with_the_rules_of_now(folders, tmp_path):
    front, rear = folders

    folders.reconfigure(settings(tmp_path, "rear", "in", settle_seconds=9.0))

    assert folders.first is rear
    assert rear.rules.settle.settle_s == 9.0
    assert rear.share == Share("rear", frozenset({"in"}))
    assert [one.share for one in folders][1:] == [Share("in", None)]
    assert front not in set(folders)
    assert (folders.is_watched("front"), folders.of("front")) == (False, rear)


def test_one_that_has_moved_is_another(folders, tmp_path):
    front, rear = folders

    folders.reconfigure(
        [WatchSettings(name="front", folder=tmp_path / "elsewhere"), *settings(tmp_path, "rear")]
    )

    assert (folders.first is front, list(folders)[1] is rear) == (False, True)


def test_recordings_of_a_nameless_folder_and_of_one_of_another_name_are_those_of_the_one_that_is_there(
    folders, tmp_path
):
    store = open_store(tmp_path / "agent.db")
    there, above = os.fsencode(tmp_path), os.fsencode(tmp_path.parent)
    store.add(
        [
            found(there + b"/front/a"),
            found(there + b"/rear/b", watch="back"),
            found(above + b"/c"),
        ]
    )
    with another_program(tmp_path / "agent.db") as run:  # where they lie is not below /media here
        run.execute("UPDATE recording SET path = substr(path, 8)")

    folders.adopt(store)

    assert [one.watch for one in store.in_states(State.SEEN)] == ["front", "rear", ""]
    store.close()


def test_a_folder_that_a_link_now_leads_into_another_is_told_with_that(tmp_path):
    (tmp_path / "front" / "DCIM").mkdir(parents=True)
    (tmp_path / "rear").symlink_to(tmp_path / "nowhere")
    folders = Folders(settings(tmp_path, "front", "rear"))
    front, rear = folders
    assert [folders.overlapping(one) for one in folders] == [None, None]

    (tmp_path / "rear").unlink()
    (tmp_path / "rear").symlink_to(tmp_path / "front" / "DCIM")

    assert [folders.overlapping(one) for one in (front, rear)] == [None, front]


def test_so_is_one_whose_mount_shows_a_part_of_another(tmp_path):
    require_root()
    inner, outer = tmp_path / "rear", tmp_path / "front"
    (outer / "DCIM").mkdir(parents=True)
    inner.mkdir()
    folders = Folders(settings(tmp_path, "front", "rear"))
    front, rear = folders
    assert folders.overlapping(rear) is None

    subprocess.run(["mount", "--bind", outer / "DCIM", inner], check=True)
    try:
        assert folders.overlapping(rear) is front
    finally:
        subprocess.run(["umount", inner], check=True)
    assert folders.overlapping(rear) is None


def test_the_server_is_told_what_the_settings_of_a_recordings_folder_say_with_its_name(tmp_path):
    folders = Folders(settings(tmp_path, "front", metadata={"site": "north"}))
    store = open_store(tmp_path / "agent.db")
    told = [
        dict(folders.metadata_of(one))
        for one in store.add([found(watch="front"), found(watch="gone"), found()])
    ]

    assert told == [{"site": "north", "watch": "front"}, {"watch": "gone"}, {}]
    store.close()
