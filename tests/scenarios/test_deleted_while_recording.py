"""What a recorder's ring deletes or renames while it is sent is delivered, and said to be held."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from edge_agent.base.reasons import ProblemCode
from edge_agent.core.upload import Event, State
from edge_agent.media.identity import identity_of
from tests.support.link import FINE, Fault
from tests.support.while_recording import DATA, somebody_records


@pytest.fixture
def stage(tmp_path):
    with somebody_records(tmp_path) as made:
        yield made


def begun(stage, name="a.ts"):
    """Return a recording of which the server has all but the end, behind a link that is dead by now."""
    recording = stage.begin(name)
    stage.pass_steps()
    stage.write(recording, b"the end", len(DATA))
    stage.link.schedule = lambda request: Fault(lose_request=True)
    return recording


def bring_back(stage):
    stage.link.schedule = lambda request: FINE
    stage.lane.clock.pass_s(400)


def delete(recording):
    os.unlink(recording.path)


def arrived(stage, name="a.ts"):
    return stage.scene.published().get(name) == DATA + b"the end"


@pytest.fixture
def going_on(stage):
    """The recorder is at its next file meanwhile."""
    stage.begin("next.ts", b"")


def test_what_a_ring_deletes_while_it_waits_for_its_end_is_delivered(stage, going_on):
    recording = begun(stage)
    delete(recording)
    stage.pass_steps()
    held = stage.lane.activity.held
    bring_back(stage)
    stage.lane.run()

    assert held == {recording.id: True}
    assert stage.lane.now(recording).state is State.RELEASED
    assert arrived(stage)


def test_what_a_ring_deletes_while_it_waits_for_the_link_is_delivered(stage, going_on):
    recording = begun(stage)
    identity = identity_of(os.stat(recording.path))
    stage.lane.store.advance(stage.lane.now(recording), Event.SETTLED, identity=identity)
    for _ in range(4):
        stage.lane.step()
        stage.pass_steps(4)
    delete(recording)
    stage.pass_steps(4)
    bring_back(stage)
    stage.lane.run()

    assert arrived(stage)


def replace_by_next(recording):
    newer = recording.path + b".next"
    with open(newer, "wb") as file:
        file.write(b"the next round")
    os.rename(newer, recording.path)


@pytest.mark.slow
@pytest.mark.parametrize("instead", [delete, replace_by_next])
def test_whoever_looks_for_its_name_is_told_at_once_that_it_is_held(stage, going_on, instead):
    recording = begun(stage)
    with open(recording.path, "ab") as file:
        instead(recording)
        stage.pass_steps(1)
        held = [stage.lane.activity.held]
        for _ in range(4):
            file.write(b", and more")
            file.flush()
            stage.pass_steps(1)
            held.append(stage.lane.activity.held)
        states = stage.lane.now(recording).state
    stage.pass_steps(4)
    bring_back(stage)
    stage.lane.run()

    assert held == [{recording.id: True}] * 5
    assert states is State.GROWING
    assert stage.scene.published()["a.ts"] == DATA + b"the end" + b", and more" * 4


def test_whoever_misses_it_is_told_that_it_is_open(stage, going_on):
    recording = begun(stage)

    assert stage.lane.activity.held == {recording.id: False}


def test_what_is_still_written_to_after_it_was_deleted_is_delivered_to_its_end(stage, going_on):
    recording = begun(stage)
    with open(recording.path, "ab") as file:
        delete(recording)
        stage.pass_steps(1)
        file.write(b", and more")
        file.flush()
        stage.pass_steps(4)
    bring_back(stage)
    stage.lane.run()

    assert stage.scene.published()["a.ts"] == DATA + b"the end, and more"


def test_where_nobody_records_any_more_a_card_can_be_taken_out(stage):
    recording = begun(stage)
    identity = identity_of(os.stat(recording.path))
    stage.lane.store.advance(stage.lane.now(recording), Event.SETTLED, identity=identity)
    stage.pass_steps(2)

    assert stage.lane.activity.held == {}
    assert open_files(recording.path) == 0


def test_on_a_disk_that_is_low_what_was_deleted_gives_its_room_back(stage, going_on):
    recording = begun(stage)
    stage.lane.activity.problem(ProblemCode.DISK_LOW, present=True)
    delete(recording)
    stage.pass_steps(2)

    assert stage.lane.activity.held == {}
    assert open_files(recording.path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("is_followed", [True, False])
def test_a_begun_recording_that_is_moved_is_not_taken_for_a_deleted_one(
    stage, going_on, is_followed
):
    recording = begun(stage)
    after = recording.path.replace(b"a.ts", b"b.ts")
    os.rename(recording.path, after)
    if is_followed:
        stage.lane.store.update(recording, path=after, name="b.ts")
    stage.pass_steps(2)
    at_first = stage.lane.activity.held
    stage.pass_steps(20)

    assert stage.lane.now(recording).state is State.GROWING
    assert at_first == {recording.id: False}, "who looks at the folder has time to find it"
    assert stage.lane.activity.held == ({recording.id: False} if is_followed else {})
    assert open_files(after) == is_followed


def test_a_file_that_took_the_name_of_a_begun_one_is_not_taken_for_it(stage, going_on):
    recording = begun(stage)
    delete(recording)
    with open(recording.path, "wb") as file:
        file.write(b"the next round")
    identity = identity_of(os.stat(recording.path))
    stage.lane.store.update(stage.lane.now(recording), identity=identity)
    stage.pass_steps(4)
    assert open_files(recording.path) == 0
    bring_back(stage)
    stage.lane.run()

    assert b"the next round" not in stage.scene.published().values()


def open_files(path):
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            link = os.readlink(f"/proc/self/fd/{fd}")
            found += link.removesuffix(" (deleted)") == os.fsdecode(path)
    return found
