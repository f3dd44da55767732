"""Recordings on a file system that does not answer: each says why it waits, and holds up no other."""

import pytest

from edge_agent.base.errors import SourceSilentError
from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.core.upload import State
from edge_agent.media.source import Source
from tests.support.lane import scene


@pytest.fixture
def asked():
    return []


@pytest.fixture
def stage(tmp_path, asked):
    with scene(tmp_path) as made:

        def open_source(path):
            if path.rpartition(b"/")[2].startswith(b"front"):
                asked.append(path)
                raise SourceSilentError("the file system that it lies on does not answer")
            return Source.open(path)

        made.lane.open_source = open_source
        yield made


def record(stage, watch, count):
    made = [stage.lane.record(f"{watch}{number}.mp4", b"x" * number) for number in range(1, count)]
    return [stage.lane.store.update(one, watch=watch) for one in made]


def test_one_that_does_not_answer_waits_with_its_reason_and_is_never_failed(stage):
    [silent] = record(stage, "front", 2)
    [other] = record(stage, "rear", 2)

    stage.lane.run(until=lambda: stage.lane.now(other).state is State.VERIFIED)

    assert stage.lane.now(silent).state is State.STABLE
    assert stage.lane.now(silent).failures == 0
    assert stage.lane.activity.waits[silent.id].reason is Reason.SOURCE_SILENT


def test_a_file_that_a_person_named_waits_too(stage):
    named = stage.lane.record("front1.mp4", b"x", origin="command")
    [other] = record(stage, "rear", 2)

    stage.lane.run(until=lambda: stage.lane.now(other).state is State.VERIFIED)

    assert stage.lane.now(named).state is State.STABLE


def test_of_a_folder_that_is_known_to_be_silent_none_is_asked_for_however_many_there_are(
    stage, asked
):
    silent = record(stage, "front", 25)
    [other] = record(stage, "rear", 2)
    stage.lane.activity.miss_folder(Wait(Reason.SOURCE_SILENT, "front: silent"), watch="front")

    stage.lane.run(until=lambda: stage.lane.now(other).state is State.VERIFIED)
    meanwhile = list(asked)
    stage.lane.activity.miss_folder(None, watch="front")
    stage.lane.run(until=lambda: asked)

    assert meanwhile == []
    assert {stage.lane.now(one).state for one in silent} == {State.STABLE}


def test_a_file_that_a_person_named_elsewhere_is_sent_though_the_nameless_folder_is_silent(stage):
    waits = record(stage, "", 2)
    named = stage.lane.record("elsewhere.mp4", b"x", origin="command")
    stage.lane.activity.miss_folder(Wait(Reason.SOURCE_SILENT, "silent"), watch="")

    stage.lane.run(until=lambda: stage.lane.now(named).state is State.VERIFIED)

    assert [stage.lane.now(one).state for one in waits] == [State.STABLE]
