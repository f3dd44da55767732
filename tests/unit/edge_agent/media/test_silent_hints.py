"""A folder that falls silent while hints are set up for it: nobody else works with what that call still changes."""

import threading
from functools import partial

import pytest
from watchdog.observers.inotify import InotifyObserver

from edge_agent.base.reasons import Reason
from edge_agent.media.hints import FolderHints
from tests.support.processes import wait_for


@pytest.mark.slow
def test_hints_that_are_set_up_after_nobody_waits_any_more_end_and_others_take_their_place(
    folder, monkeypatch
):
    answers, made = threading.Event(), []

    def observer(**options):
        made.append(InotifyObserver(**options))
        answers.wait()
        return made[-1]

    monkeypatch.setattr("edge_agent.media.hints.InotifyObserver", observer)
    folder.watcher.step(folder.clock.now)
    away = folder.activity.view().away("")
    answers.set()

    def is_over():
        return not made[0].is_alive() and not made[0].emitters

    def are_renewed():
        folder.clock.now += 10.0
        folder.watcher.step(folder.clock.now)
        return len(made) > 1 and made[-1].is_alive()

    assert away is not None
    assert away.reason is Reason.SOURCE_SILENT
    wait_for(are_renewed, "hints come")
    wait_for(is_over, "those that came late have ended")
    assert folder.activity.view().away("") is None


def test_a_rename_that_cannot_be_taken_in_ends_no_hints_and_is_one_itself(tmp_path):
    seen: list[str] = []

    def take(_before: bytes, after: bytes) -> None:
        seen.append(after.decode())
        raise RuntimeError("can't start new thread")

    hints = FolderHints(lambda: seen.append("a hint"), take)
    assert hints.watch(tmp_path, recursive=False) is None
    try:
        for path in (tmp_path / "a.mp4", tmp_path / "b.mp4"):
            (tmp_path / "part").touch()
            (tmp_path / "part").rename(path)
            wait_for(partial(_ends_with, seen, [str(path), "a hint"]), "it is told")
        assert hints.are_alive()
    finally:
        hints.stop()


def _ends_with(seen: list[str], last: list[str]) -> bool:
    return seen[-len(last) :] == last
