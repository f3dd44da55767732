"""A folder that falls silent while hints are set up for it: nobody else works with what that call still changes."""

import threading

from watchdog.observers.inotify import InotifyObserver

from edge_agent.base.reasons import Reason
from tests.support.processes import wait_for


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
