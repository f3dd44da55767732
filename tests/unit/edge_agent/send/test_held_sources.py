"""What is deleted while it is sent is read to its end, while there is room to hold it."""

import os
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.errors import LinkDownError, SourceChangedError
from edge_agent.base.reasons import ProblemCode
from edge_agent.core.recording import SOURCE_DELETED
from edge_agent.core.upload import State
from edge_agent.media.identity import identity_at
from edge_agent.media.source import Source
from edge_agent.send.held_sources import HeldSources
from edge_agent.send.source_in_hand import SourceInHand
from tests.support.leftovers import open_descriptors, target
from tests.support.memory_lane import memory_lane
from tests.support.present import present

MIB = 2**20
CONTENT = os.urandom(3 * MIB)


@pytest.fixture
def lane(tmp_path):
    with memory_lane(tmp_path) as made:
        yield made


def at_first(duty, do):
    """Return what befalls the first request of that duty: *do* is done, whose result befalls it."""
    done: list[Any] = []

    def befall(what):
        if what == duty and not done:
            done.append(what)
            return do()
        return None

    return befall


def open_files(lane):
    found = [target(number) for number, *_ in open_descriptors()]
    return [path for path in found if path.startswith(str(lane.media))]


def completed(lane):
    return [one.data for one in lane.store.outbox.undelivered() if one.type == "file.completed"]


@pytest.mark.parametrize("duty", ["create", "send"])
def test_a_file_that_is_deleted_while_it_is_sent_arrives_whole_and_the_device_says_so(lane, duty):
    recording = lane.record("a.mp4", CONTENT)
    lane.befall = at_first(duty, (lane.media / "a.mp4").unlink)

    lane.run()

    assert lane.server.published == {"a.mp4": CONTENT}
    now = lane.now(recording)
    assert (now.state, now.problem) == (State.RELEASED, None)
    assert now.detail == "its file was deleted here while it was sent"
    assert [one["source_gone"] for one in completed(lane)] == [True]
    assert open_files(lane) == []
    assert lane.activity.held == {}


@pytest.mark.parametrize("duty", ["create", "send"])
def test_a_file_in_whose_place_another_one_is_put_while_it_is_sent_arrives_whole(lane, duty):
    recording = lane.record("a.mp4", CONTENT)
    newer = lane.base / "newer"
    newer.write_bytes(b"the next one")
    lane.befall = at_first(duty, lambda: newer.replace(lane.media / "a.mp4") and None)

    lane.run()

    assert lane.server.published == {"a.mp4": CONTENT}
    assert (lane.media / "a.mp4").read_bytes() == b"the next one"
    assert lane.now(recording).state is State.RELEASED
    assert [one["source_gone"] for one in completed(lane)] == [True]
    assert open_files(lane) == []


def test_a_lane_that_comes_to_a_file_that_was_replaced_meanwhile_reads_what_the_other_one_has_open(
    lane,
):
    recording = lane.record("a.mp4", CONTENT)
    held = HeldSources(lane.store, Activity(), lambda: 2)
    first, second = (SourceInHand(number, Source.open, held) for number in range(2))
    first.take(recording)
    newer = lane.base / "newer"
    newer.write_bytes(b"the next one")
    newer.replace(lane.media / "a.mp4")

    assert second.take(recording).read(0, len(CONTENT)) == CONTENT
    recording = lane.now(recording)
    assert first.take(recording).read(0, len(CONTENT)) == CONTENT
    first.let_go()
    held.close()
    assert open_files(lane) == []


def test_a_lane_reads_what_a_recording_is_now_beside_one_that_has_its_earlier_content_still_open(
    lane,
):
    recording = lane.record("a.mp4", CONTENT)
    held = HeldSources(lane.store, Activity(), lambda: 2)
    first, second = (SourceInHand(number, Source.open, held) for number in range(2))
    first.take(recording)
    newer = lane.base / "newer"
    newer.write_bytes(b"the next one")
    newer.replace(lane.media / "a.mp4")
    now = present(identity_at(recording.path))
    recording = lane.store.update(recording, identity=now)

    assert second.take(recording).read(0, now.length) == b"the next one"

    second.let_go()
    first.let_go()
    held.close()
    assert open_files(lane) == []


def test_a_file_that_fat_has_numbered_anew_since_it_was_found_is_read_by_all_lanes(lane):
    recording = lane.record("a.mp4", CONTENT)
    before = replace(recording.identity, inode=recording.identity.inode + 1)
    recording = lane.store.update(recording, identity=before)
    held = HeldSources(lane.store, Activity(), lambda: 2)
    lanes = [SourceInHand(number, Source.open, held) for number in range(2)]

    assert [one.take(recording).read(0, len(CONTENT)) for one in lanes] == [CONTENT, CONTENT]

    for one in lanes:
        one.let_go()
    assert open_files(lane) == []


def test_of_a_file_that_is_still_there_the_device_does_not_say_so(lane):
    lane.record("a.mp4", CONTENT)

    lane.run()

    assert [one["source_gone"] for one in completed(lane)] == [False]


def test_a_deleted_file_is_held_while_the_link_is_down_and_goes_first_when_it_is_back(lane):
    deleted = lane.record("b.mp4", CONTENT)

    def delete():
        (lane.media / "b.mp4").unlink()
        return LinkDownError("no route")

    lane.befall = at_first("send", delete)
    lane.run(until=lambda: lane.activity.blocked_by is not None)
    held = dict(lane.activity.held)
    lane.run()

    assert held == {deleted.id: True}
    assert lane.server.published == {"b.mp4": CONTENT}


@pytest.mark.parametrize("origin", ["watch", "command"])
def test_of_what_the_server_has_whole_the_receipt_is_fetched_though_the_file_is_gone(lane, origin):
    recording = lane.record("a.mp4", CONTENT, origin=origin)
    lane.befall = at_first("complete", lambda: LinkDownError("no route"))
    lane.run(until=lambda: lane.activity.blocked_by is not None)
    (lane.media / "a.mp4").unlink()

    lane.run()

    assert lane.server.published == {"a.mp4": CONTENT}
    now = lane.now(recording)
    assert (now.state, now.receipt.length) == (State.RELEASED, len(CONTENT))
    assert [one["source_gone"] for one in completed(lane)] == [True]
    assert lane.store.given_up.next() is None
    assert lane.events("file.failed") == []


def test_of_what_the_server_has_whole_the_receipt_is_fetched_while_the_card_is_out(lane):
    recording = lane.record("a.mp4", CONTENT)
    lane.befall = at_first("complete", lambda: LinkDownError("no route"))
    lane.run(until=lambda: lane.activity.blocked_by is not None)
    on_another = replace(recording.identity, device=recording.identity.device + 1)
    lane.store.update(lane.now(recording), identity=on_another)
    (lane.media / "a.mp4").rename(lane.base / "out.mp4")

    lane.run()

    assert lane.now(recording).state is State.VERIFIED
    assert [one["source_gone"] for one in completed(lane)] == [False]


@pytest.mark.parametrize("instead", ["b.mp4", None])
def test_what_is_renamed_while_it_is_in_hand_is_not_gone_and_what_is_deleted_is(lane, instead):
    recording = lane.record("a.mp4", CONTENT)
    held = HeldSources(lane.store, Activity(), lambda: 2)
    in_hand = SourceInHand(0, Source.open, held)
    in_hand.take(recording)
    if instead is None:
        (lane.media / "a.mp4").unlink()
    else:
        (lane.media / "a.mp4").rename(lane.media / instead)

    assert in_hand.is_gone(recording) is (instead is None)

    in_hand.close()
    held.close()


def test_who_misses_a_file_knows_of_each_that_is_open_from_before_it_is(lane):
    recording = lane.record("a.mp4", CONTENT)
    held = []

    def open_source(path):
        held.append(dict(lane.activity.held))
        return Source.open(path)

    lane.open_source = open_source
    lane.run()

    assert held == [{recording.id: False}]
    assert lane.activity.held == {}


def test_a_file_that_cannot_be_opened_is_not_said_to_be_open(lane):
    recording = lane.record("a.mp4", CONTENT)
    (lane.media / "a.mp4").unlink()

    lane.run(until=lambda: recording.id in lane.activity.waits)

    assert lane.activity.held == {}


def test_on_a_disk_that_is_low_nothing_deleted_is_held(lane):
    recording = lane.record("a.mp4", CONTENT)

    def delete():
        (lane.media / "a.mp4").unlink()
        lane.activity.problem(ProblemCode.DISK_LOW, present=True)

    lane.befall = at_first("send", delete)
    lane.run(until=lambda: recording.id in lane.activity.waits)

    assert lane.server.published == {}
    assert open_files(lane) == []


def test_what_is_held_is_let_go_when_the_disk_gets_low(lane):
    recording = lane.record("a.mp4", CONTENT)

    def delete():
        (lane.media / "a.mp4").unlink()
        return LinkDownError("no route")

    lane.befall = at_first("send", delete)
    lane.run(until=lambda: lane.activity.blocked_by is not None)
    held = open_files(lane)
    lane.activity.problem(ProblemCode.DISK_LOW, present=True)
    lane.run(until=lambda: recording.id in lane.activity.waits)

    assert len(held) == 1
    assert open_files(lane) == []


@pytest.mark.parametrize("end", ["a power cut", "a low disk"])
def test_what_was_held_is_counted_as_overwritten_where_another_file_has_its_name(lane, end):
    recording = lane.record("a.mp4", CONTENT)
    path = lane.media / "a.mp4"

    def delete():
        path.unlink()
        return LinkDownError("no route")

    lane.befall = at_first("send", delete)
    lane.run(until=lambda: lane.activity.blocked_by is not None)
    while_held = lane.now(recording).problem
    path.write_bytes(b"the next one")
    if end == "a power cut":
        lane.restart()
    else:
        lane.activity.problem(ProblemCode.DISK_LOW, present=True)
    lane.run()
    lane.record("a.mp4", b"the next one")
    lane.run()

    lost = lane.now(recording)
    assert while_held == "source-deleted"
    assert (lost.state, lost.problem, lost.upload_id) == (State.OVERWRITTEN, None, None)
    told = [one for one in lane.store.outbox.undelivered() if one.type == "file.overwritten"]
    assert [one.data["file_id"] for one in told] == [recording.id]
    assert lane.duties.count("abort_upload") == 1
    assert lane.server.published == {"a.mp4": b"the next one"}
    assert [one["source_gone"] for one in completed(lane)] == [False]


def test_a_lane_that_hears_of_it_after_another_has_held_the_file_does_not_give_it_up(lane):
    recording = lane.record("a.mp4", CONTENT)
    newer = lane.base / "newer"
    newer.write_bytes(b"the next one")

    def another_lane_holds():
        newer.replace(lane.media / "a.mp4")
        lane.store.update(lane.now(recording), problem=SOURCE_DELETED, detail="held")
        lane.activity.hold({recording.id: True})
        return SourceChangedError("another file has its name")

    lane.befall = at_first("send", another_lane_holds)
    lane.run()

    assert lane.now(recording).state is State.RELEASED
    assert lane.server.published == {"a.mp4": CONTENT}


def test_there_are_at_most_as_many_as_there_are_lanes(lane):
    held = HeldSources(lane.store, Activity(), lambda: 2)
    taken = []
    for lane_number in range(3):
        recording = lane.record(f"{lane_number}.mp4", b"x")
        source = Source.open(recording.path)
        source.reads_on = True
        held.take_up(lane_number, recording)
        os.unlink(recording.path)
        held.put_down(lane_number, recording, source)
        taken.append(recording.id)

    assert held.deleted == tuple(taken[:2])
    assert len(open_files(lane)) == 2
    held.close()
    assert open_files(lane) == []


def test_a_file_that_is_written_to_after_it_was_deleted_is_not_published(lane):
    recording = lane.record("a.mp4", CONTENT)
    path = lane.media / "a.mp4"
    with path.open("r+b") as recorder:

        def delete():
            path.unlink()
            return LinkDownError("no route")

        lane.befall = at_first("send", delete)
        lane.run(until=lambda: lane.activity.blocked_by is not None)
        recorder.write(b"other")
        recorder.flush()
        lane.run(until=lambda: lane.now(recording).state is State.SEEN)

    assert lane.server.published == {}
    assert open_files(lane) == []


def test_a_file_that_was_moved_is_not_held_for_it_is_found_elsewhere(lane):
    recording = lane.record("a.mp4", CONTENT)
    path = lane.media / "a.mp4"
    lane.befall = at_first("send", lambda: path.rename(path.with_name("moved")) and None)

    lane.run(until=lambda: recording.id in lane.activity.waits)

    assert lane.server.published == {}
    assert open_files(lane) == []
