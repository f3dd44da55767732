"""A card on which all files have changed: each folder is looked at once, not once for each of its files."""

import os
from typing import Any

import pytest

from edge_agent.core.upload import State
from edge_agent.media import rings
from edge_agent.store.recordings import Store
from tests.support.noted import noted
from tests.support.rim import StillClock, WatchedFolder

FILES, HOUR_S = 50, 3600


@pytest.fixture
def folder(tmp_path):
    clock = StillClock()
    store = Store.open(tmp_path / "agent.db", clock=clock, boot_id="boot")
    made = WatchedFolder(tmp_path, store, clock)
    for number in range(FILES):
        path = made.write(f"clip{number:03}.mp4", b"ten bytes!")
        os.utime(path, (10**9 + number, 10**9 + number))
    made.settle()
    assert len(store.in_states(State.STABLE)) == FILES
    yield made
    made.watcher.stop()
    store.close()


@pytest.mark.parametrize(("content", "most"), [(b"ten bytes!", 0), (b"other", 2)])
def test_however_many_they_are_the_folder_is_looked_at_once_a_scan(
    folder, monkeypatch, content, most
):
    looks: list[Any] = []
    monkeypatch.setattr(rings, "_looked_at", noted(looks, rings._looked_at))
    for number in range(FILES):
        path = folder.write(f"clip{number:03}.mp4", content)
        os.utime(path, (10**9 + number + HOUR_S,) * 2)

    folder.look()

    assert len(looks) <= most
    assert not folder.store.in_states(State.FAILED)


def test_a_folder_that_is_back_wakes_the_sender_which_asked_nothing_of_it_meanwhile(folder):
    away = folder.media.rename(folder.media.with_name("away"))
    folder.look()
    before = folder.sender_woken
    away.rename(folder.media)

    folder.look()

    assert folder.sender_woken == before + 1
