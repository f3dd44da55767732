"""The folder itself: missing, late, a link, with other rules than before."""

import os

from edge_agent.base.reasons import ProblemCode
from edge_agent.core.schedule import PriorityRule
from edge_agent.core.upload import State
from edge_agent.store import priorities
from tests.support.rim import watched_folder


def test_a_missing_folder_is_a_reason_and_nothing_is_marked_vanished(folder):
    folder.write("a.mp4")
    folder.settle()
    folder.media.rename(folder.media.with_name("pulled"))
    folder.settle()
    during = (folder.only().state, set(folder.activity.problems))
    folder.media.with_name("pulled").rename(folder.media)

    folder.settle()

    assert during == (State.STABLE, {ProblemCode.SOURCE_MISSING})
    assert folder.only().state is State.STABLE
    assert folder.activity.problems == frozenset()


def test_a_folder_that_is_missing_at_the_start_is_waited_for(tmp_path):
    with watched_folder(tmp_path) as folder:
        folder.media.rmdir()
        folder.settle()
        missing = set(folder.activity.problems)
        folder.write("a.mp4")

        folder.settle()

        assert missing == {ProblemCode.SOURCE_MISSING}
        assert folder.only().state is State.STABLE


def test_a_link_to_the_folder_is_resolved(tmp_path):
    (tmp_path / "card").mkdir()
    (tmp_path / "media").symlink_to(tmp_path / "card")
    with watched_folder(tmp_path) as folder:
        folder.write("a.mp4")

        folder.settle()

        assert folder.only().path == os.fsencode(tmp_path / "card/a.mp4")
        assert folder.only().folder == ""


def test_other_patterns_count_from_the_next_scan(folder):
    folder.write("a.qqq")
    folder.settle()
    before = folder.states()

    folder.folder.reconfigure(folder.settings.model_copy(update={"patterns": ("*.qqq",)}))
    folder.watcher.wake()
    folder.settle()

    assert before == {}
    assert folder.states() == {"a.qqq": State.STABLE}


def test_a_recording_that_is_moved_to_the_urgent_ones_becomes_urgent(tmp_path):
    with watched_folder(tmp_path) as folder:
        priorities.apply(folder.store, [PriorityRule("event/*", 10)])
        folder.write("a.mp4")
        folder.settle()
        before = folder.only().priority
        (folder.media / "event").mkdir()
        (folder.media / "a.mp4").rename(folder.media / "event/a.mp4")
        folder.settle()

        assert (before, folder.only().priority) == (0, 10)


def test_what_is_there_for_one_look_is_no_problem_and_what_two_find_is_one(folder):
    seen = []
    folder.activity.subscribe(lambda: seen.append(folder.activity.problems))
    for _ in range(5):
        passing = folder.write("status.json.new")
        folder.watcher.wake()
        folder.watcher.step(folder.clock.now)
        passing.unlink()
        folder.pass_time(3.0)
    passed_by = set().union(*seen)
    folder.write("status.json.new")
    folder.watcher.wake()
    folder.pass_time(5.0)
    stands = folder.activity.problems
    (folder.media / "status.json.new").unlink()
    folder.watcher.wake()
    folder.pass_time(5.0)

    assert (passed_by, stands) == (set(), {ProblemCode.LEFT_OUT})
    assert folder.activity.problems == set()
