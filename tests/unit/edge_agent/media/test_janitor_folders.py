"""Letting go in several folders, on several cards, each by its own rules."""

from __future__ import annotations

import os
from typing import Any

import pytest

from edge_agent.base.settings import WatchSettings
from edge_agent.core.upload import State
from edge_agent.media.folders import Folders
from edge_agent.media.mounts import Space
from tests.support.lane import scene
from tests.support.verified_recordings import DAY_S, KnowsNothing, clean, verified


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as made:
        yield made


def folders_of_two_cards(stage, order=("front", "rear")):
    """Return two folders, of which the one called rear is full, and how much is free."""
    folders = Folders([WatchSettings(name=name, folder=stage.lane.media / name) for name in order])
    for name in order:
        (stage.lane.media / name).mkdir()

    def space(place):
        path = (
            os.fsencode(os.readlink(f"/proc/self/fd/{place}")) if isinstance(place, int) else place
        )
        return Space(0 if path.endswith(b"rear") else 10**9, 10**9)

    return folders, space


def verified_in(stage, folder, name):
    recording = verified(stage, f"{folder}/{name}")
    stage.lane.store.update(stage.lane.now(recording), watch=folder)
    return recording


@pytest.mark.slow
@pytest.mark.parametrize("order", [("front", "rear"), ("rear", "front")])
def test_where_nobody_can_say_who_writes_a_card_with_room_holds_up_no_full_one(tmp_path, order):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_free": 1000}) as stage:
        folders, space = folders_of_two_cards(stage, order)
        roomy, full = verified_in(stage, "front", "0.mp4"), verified_in(stage, "rear", "a.mp4")
        janitor = stage.lane.new_janitor(folders=folders, space=space, probe=KnowsNothing())

        for _ in range(40):
            clean(stage, janitor=janitor)
            stage.clock.pass_s(60.0)

        assert stage.lane.now(full).state is State.RELEASED
        assert stage.lane.now(roomy).state is State.VERIFIED


def test_a_card_with_room_keeps_nothing_of_another_card_that_is_full(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified", "keep_free": 1000}) as stage:
        folders, space = folders_of_two_cards(stage)
        roomy = [verified_in(stage, "front", f"{n}.mp4") for n in range(3)]
        full = verified_in(stage, "rear", "a.mp4")

        clean(stage, janitor=stage.lane.new_janitor(folders=folders, space=space))

        assert stage.lane.now(full).state is State.RELEASED
        assert {stage.lane.now(one).state for one in roomy} == {State.VERIFIED}
        assert sorted(one.name for one in stage.lane.media.rglob("*.mp4")) == [
            "0.mp4",
            "1.mp4",
            "2.mp4",
        ]


def test_nothing_goes_of_a_folder_that_is_watched_no_more(stage):
    recording = verified(stage)
    stage.lane.store.update(stage.lane.now(recording), watch="front")

    clean(stage)

    assert stage.lane.now(recording).state is State.KEPT
    assert (stage.lane.media / "a.mp4").exists()


def test_what_is_verified_waits_for_the_new_name_of_its_folder_and_then_goes_without_a_question(
    tmp_path,
):
    with scene(tmp_path, retention={"delete": "after_verified"}) as stage:
        recording = verified(stage)
        folders = stage.lane.folders()
        asked: list[Any] = []
        janitor = stage.lane.new_janitor(folders=folders, ask=asked.append)

        folders.reconfigure([WatchSettings(name="front", folder=stage.lane.media)])
        clean(stage, janitor=janitor)
        meanwhile = stage.lane.now(recording).state
        folders.adopt(stage.lane.store)
        folders.is_changing = False
        stage.clock.pass_s(2.0)
        clean(stage, janitor=janitor)

        assert meanwhile is State.VERIFIED
        assert (stage.lane.now(recording).state, asked) == (State.RELEASED, [])


def two_folders(stage, **front):
    own = [("front", front), ("rear", {})]
    for name, _ in own:
        (stage.lane.media / name).mkdir(exist_ok=True)
    return [WatchSettings(name=name, folder=stage.lane.media / name, **more) for name, more in own]


@pytest.mark.parametrize("common", ["never", "after_verified"])
@pytest.mark.parametrize("own", ["never", "after_verified"])
def test_a_folder_that_says_when_its_recordings_go_is_believed(tmp_path, common, own):
    with scene(tmp_path, retention={"delete": common}) as stage:
        folders = Folders(two_folders(stage, delete=own))
        front, rear = verified_in(stage, "front", "a.mp4"), verified_in(stage, "rear", "b.mp4")

        clean(stage, steps=10, janitor=stage.lane.new_janitor(folders=folders))

        ends = {"never": State.KEPT, "after_verified": State.RELEASED}
        assert stage.lane.now(front).state is ends[own]
        assert stage.lane.now(rear).state is ends[common]


def test_one_that_says_otherwise_since_a_reload_lets_go_what_it_kept(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as stage:
        folders = Folders(two_folders(stage, delete="never"))
        janitor = stage.lane.new_janitor(folders=folders)
        front, rear = verified_in(stage, "front", "a.mp4"), verified_in(stage, "rear", "b.mp4")
        clean(stage, steps=10, janitor=janitor)
        before = [stage.lane.now(one).state for one in (front, rear)]

        folders.reconfigure(two_folders(stage, keep_days=1.0))
        folders.is_changing = False
        janitor.reconfigure(stage.lane.retention)
        clean(stage, steps=10, janitor=janitor)
        meanwhile = stage.lane.now(front).state
        stage.clock.pass_s(2 * DAY_S)
        clean(stage, steps=10, janitor=janitor)

        assert before == [State.KEPT, State.RELEASED]
        assert meanwhile is State.VERIFIED
        assert stage.lane.now(front).state is State.RELEASED


def test_what_is_aside_comes_back_where_its_folder_keeps_everything_since_a_moment_ago(tmp_path):
    with scene(tmp_path, retention={"delete": "after_verified"}) as stage:
        folders = Folders(two_folders(stage))
        janitor = stage.lane.new_janitor(folders=folders)
        front = verified_in(stage, "front", "a.mp4")
        path = stage.lane.media / "front" / "a.mp4"
        janitor.step(stage.clock.now_s())
        aside = not path.exists()

        folders.reconfigure(two_folders(stage, delete="never"))
        folders.is_changing = False
        clean(stage, steps=10, janitor=janitor)

        assert aside
        assert path.exists()
        assert stage.lane.now(front).state is State.KEPT
