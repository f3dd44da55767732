from __future__ import annotations

import pytest

from edge_agent.core.stability import (
    Content,
    Marker,
    SettlePolicy,
    Writer,
    announced,
    judge,
    needs_probe,
    observe,
)

POLICY = SettlePolicy(settle_s=5.0, fallback_settle_s=60.0)
FULL = Content(length=100, mtime_ns=7, ctime_ns=7)
EMPTY = Content(length=0, mtime_ns=7, ctime_ns=7)


def test_a_file_is_not_finished_before_the_settle_time_whoever_writes():
    watched = observe(None, FULL, 100.0)

    for writer in (None, *Writer):
        verdict = judge(watched, writer, 104.9, POLICY)
        assert not verdict.is_finished
        assert verdict.look_again_s == pytest.approx(0.1)


def test_quiet_and_nobody_writing_is_finished():
    watched = observe(None, FULL, 100.0)

    assert judge(watched, Writer.NOBODY, 105.0, POLICY).is_finished


def test_a_writer_keeps_a_file_open_for_ever_however_quiet_it_is():
    watched = observe(None, FULL, 100.0)

    verdict = judge(watched, Writer.SOMEBODY, 100.0 + 7 * 86_400, POLICY)

    assert not verdict.is_finished
    assert verdict.look_again_s == POLICY.settle_s


@pytest.mark.parametrize(
    ("content", "writer"), [(FULL, Writer.UNKNOWN), (EMPTY, Writer.NOBODY), (EMPTY, Writer.UNKNOWN)]
)
def test_an_unknown_writer_and_an_empty_file_need_the_long_settle_time(content, writer):
    watched = observe(None, content, 100.0)

    assert not judge(watched, writer, 159.9, POLICY).is_finished
    assert judge(watched, writer, 160.0, POLICY).is_finished


def test_an_empty_file_that_a_person_named_needs_the_settle_time_only():
    watched = observe(None, EMPTY, 100.0)

    assert judge(watched, Writer.NOBODY, 105.0, POLICY, is_named=True).is_finished
    assert not judge(watched, Writer.UNKNOWN, 105.0, POLICY, is_named=True).is_finished


@pytest.mark.parametrize(
    "changed",
    [
        Content(length=101, mtime_ns=7, ctime_ns=7),
        Content(length=99, mtime_ns=7, ctime_ns=7),
        Content(length=100, mtime_ns=8, ctime_ns=7),
        Content(length=100, mtime_ns=7, ctime_ns=8),
    ],
)
def test_any_change_begins_the_quiet_time_anew(changed):
    watched = observe(observe(None, FULL, 100.0), changed, 104.0)

    assert watched.has_grown
    assert not needs_probe(watched, 108.9, POLICY)
    assert judge(watched, Writer.NOBODY, 109.0, POLICY).is_finished


def test_an_unchanged_file_keeps_its_quiet_time():
    watched = observe(observe(None, FULL, 100.0), FULL, 104.0)

    assert judge(watched, Writer.NOBODY, 105.0, POLICY).is_finished


@pytest.mark.parametrize("mtime_ns", [0, -1, 2**62])
def test_a_camera_with_a_wrong_clock_is_no_reason_to_wait(mtime_ns):
    watched = observe(None, Content(100, mtime_ns, mtime_ns), 100.0)

    assert judge(watched, Writer.NOBODY, 105.0, POLICY).is_finished


def test_the_kernel_is_asked_only_after_the_quiet_time():
    watched = observe(None, FULL, 100.0)

    assert not needs_probe(watched, 104.9, POLICY)
    assert needs_probe(watched, 105.0, POLICY)
    assert not judge(watched, None, 105.0, POLICY).is_finished


def test_growing_is_told_from_being_found():
    found = observe(None, FULL, 100.0)
    grown = observe(found, Content(101, 7, 7), 103.0)

    assert (found.quiet_since_s, found.has_grown) == (100.0, False)
    assert (grown.quiet_since_s, grown.has_grown) == (103.0, True)
    assert observe(found, FULL, 104.0) == found


def test_the_kernel_is_asked_after_the_settle_time_and_not_before():
    watched = observe(None, FULL, 100.0)

    assert not needs_probe(watched, 104.9, POLICY)
    assert needs_probe(watched, 105.0, POLICY)


def test_a_file_whose_writer_was_not_asked_for_is_looked_at_again():
    found = judge(observe(None, FULL, 100.0), None, 105.0, POLICY)

    assert (found.is_finished, found.look_again_s) == (False, 5.0)


@pytest.mark.parametrize(
    ("now_s", "look_again_s"), [(105.0, 5.0), (156.0, 4.0), (159.5, 0.5), (160.0, 0.0)]
)
def test_the_long_wait_goes_in_steps_of_the_settle_time(now_s, look_again_s):
    found = judge(observe(None, FULL, 100.0), Writer.UNKNOWN, now_s, POLICY)

    assert (found.is_finished, found.look_again_s) == (look_again_s == 0, look_again_s)


def test_a_fallback_that_is_shorter_than_the_settle_time_does_not_shorten_it():
    policy = SettlePolicy(settle_s=5.0, fallback_settle_s=1.0)

    assert not judge(observe(None, FULL, 100.0), Writer.UNKNOWN, 104.0, policy).is_finished
    assert judge(observe(None, FULL, 100.0), Writer.UNKNOWN, 105.0, policy).is_finished


def test_an_announcement_holds_for_the_content_that_it_was_for():
    watched = announced(observe(None, FULL, 100.0))
    longer = Content(length=200, mtime_ns=8, ctime_ns=8)

    assert judge(watched, Writer.UNKNOWN, 100.0, POLICY).is_finished
    assert not judge(observe(watched, longer, 101.0), Writer.UNKNOWN, 101.0, POLICY).is_finished


@pytest.mark.parametrize("marker", [Marker.NONE, Marker.DONE])
def test_a_writer_is_believed_before_what_the_recorder_says(marker):
    watched = announced(observe(None, FULL, 100.0))

    assert not judge(watched, Writer.SOMEBODY, 900.0, POLICY, marker=marker).is_finished
