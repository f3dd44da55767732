"""What a refusal is about decides what follows: a file, its upload, or the way to the server."""

import errno

import pytest

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.upload import Event, State
from edge_agent.media.source import Source, _translate
from tests.support.lane import scene
from tests.support.link import FINE, problem

KIB = 1024


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        yield made


def begun(stage, name, data):
    """Return a recording that has an upload, and the upload's id."""
    recording = stage.lane.record(name, data)
    stage.lane.run(until=lambda: stage.lane.now(recording).upload_id is not None)
    return recording, stage.lane.now(recording).upload_id


@pytest.mark.parametrize("code", ["not-open", "too-many-ranges", "of-a-later-version"])
def test_a_conflict_that_asking_does_not_end_begins_a_new_upload(stage, code):
    recording, stuck = begun(stage, "a.mp4", b"x" * 100 * KIB)
    refused = problem(409, code)
    stage.link.schedule = lambda request: (
        refused if request.method == "PUT" and stuck in request.path else FINE
    )
    before = len(stage.link.requests)

    stage.lane.run()

    asked = [
        (one.method, stuck in one.path)
        for one in stage.link.requests[before:]
        if one.method in {"GET", "PUT"}
    ]
    assert asked[:3] == [("PUT", True), ("GET", True), ("PUT", True)]
    assert set(asked[3:]) == {("PUT", False)}
    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.published() == {"a.mp4": b"x" * 100 * KIB}


@pytest.mark.parametrize("code", ["not-open", "ranges-missing"])
def test_a_completion_that_conflicts_for_ever_begins_a_new_upload(stage, code):
    recording, stuck = begun(stage, "a.mp4", b"x" * 100 * KIB)
    refused = problem(409, code)
    stage.link.schedule = lambda request: (
        refused if "complete" in request.path and stuck in request.path else FINE
    )

    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.lane.now(recording).upload_id != stuck


def test_a_conflict_that_passes_costs_no_second_upload(stage):
    recording, upload_id = begun(stage, "a.mp4", b"x" * 100 * KIB)
    stage.link.script(problem(409, "not-open"), only="PUT")

    stage.lane.run()

    assert stage.lane.now(recording).upload_id == upload_id
    assert stage.lane.store.notes.totals().bytes_resent == 0


def test_requests_that_break_again_and_again_cost_no_second_upload(stage):
    recording, upload_id = begun(stage, "a.mp4", b"x" * 100 * KIB)
    stage.link.script(
        *[problem(409, "superseded"), problem(408, "request-timeout")] * 5, only="PUT"
    )

    stage.lane.run()

    assert stage.lane.now(recording).upload_id == upload_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "malformed-request"),
        (404, "unsupported-version"),
        (405, "method-not-allowed"),
        (411, "length-required"),
        (415, "unsupported-media-type"),
        (421, "misdirected-request"),
        (431, "headers-too-large"),
        (422, "of-a-later-version"),
    ],
)
def test_L5_a_refusal_of_all_requests_fails_no_file_and_ends_by_itself(stage, status, code):
    recordings = [stage.lane.record(f"{n}.mp4", b"x") for n in range(5)]
    refused = problem(status, code)
    stage.link.schedule = lambda _: refused

    for _ in range(40):
        stage.lane.step()

    blocked = stage.lane.activity.blocked_by
    assert blocked.reason is Reason.LINK
    assert blocked.detail.startswith(f"{code}: d; that is not the recording's fault")
    assert ProblemCode.SERVER_UNREACHABLE in stage.lane.activity.problems
    assert {stage.lane.now(one).state for one in recordings} == {State.STABLE}
    assert not stage.lane.events("file.failed")
    # One of them has asked for itself; then it is the question that nobody's file depends on.
    assert sum(one.method == "POST" for one in stage.link.requests) == 1

    stage.link.schedule = lambda _: FINE
    stage.lane.run()

    assert {stage.lane.now(one).state for one in recordings} == {State.VERIFIED}
    assert stage.lane.activity.problems == frozenset()


@pytest.mark.slow
def test_L5_a_refusal_of_one_recordings_requests_holds_up_no_other(stage):
    first, refused_id = begun(stage, "refused.mp4", b"x" * 10)
    refused = problem(400, "malformed-request")
    stage.link.schedule = lambda request: refused if refused_id in request.path else FINE
    others = [stage.lane.record(f"{n}.mp4", b"y" * 10) for n in range(20)]
    began_s = stage.clock.now_s()

    stage.lane.run(until=lambda: all(stage.lane.now(one).state is State.VERIFIED for one in others))

    assert stage.clock.now_s() - began_s < 60
    assert stage.lane.now(first).state is State.SENDING
    assert stage.lane.activity.waits[first.id].reason is Reason.LINK


@pytest.mark.parametrize(
    ("code", "reason", "problem_code"),
    [
        (errno.EIO, Reason.SOURCE_IO, ProblemCode.SOURCE_IO),
        (errno.EACCES, Reason.PERMISSION, ProblemCode.PERMISSION),
        (errno.ENOMEM, Reason.BACKOFF, None),
    ],
)
def test_a_file_that_cannot_be_read_says_why_until_it_has_arrived(
    stage, code, reason, problem_code
):
    recording = stage.lane.record("a.mp4", b"x" * 100 * KIB)

    def refuse(path):
        raise _translate(OSError(code, "no"), path)

    stage.lane.open_source = refuse
    stage.lane.run(until=lambda: recording.id in stage.lane.activity.waits)
    wait, problems = stage.lane.activity.waits[recording.id], stage.lane.activity.problems
    stage.lane.open_source = Source.open

    stage.lane.run()

    assert wait.reason is reason
    assert problems == ({problem_code} if problem_code else frozenset())
    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.lane.activity.problems == frozenset()


def test_a_file_that_could_not_be_read_and_is_no_more_to_be_sent_is_no_problem_any_more(stage):
    recording = stage.lane.record("a.mp4", b"x" * 100 * KIB)

    def refuse(path):
        raise _translate(OSError(errno.EACCES, "no"), path)

    stage.lane.open_source = refuse
    stage.lane.run(until=lambda: recording.id in stage.lane.activity.waits)
    stage.clock.pass_s(3600.0)
    stage.lane.sender.pause(True)  # so that nothing tries it again
    before = stage.lane.activity.problems
    stage.lane.store.advance(stage.lane.now(recording), Event.SOURCE_CHANGED)

    stage.lane.sender.step(stage.clock.now_s())

    assert (before, stage.lane.activity.problems) == ({ProblemCode.PERMISSION}, frozenset())
