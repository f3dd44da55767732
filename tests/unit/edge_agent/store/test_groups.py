"""Which recordings are remembered as one group, and when there is something to do with it."""

from dataclasses import replace

import pytest

from edge_agent.core.groups import Role
from edge_agent.core.upload import PENDING, Event, State
from edge_agent.store.groups import adopt_all
from tests.support.agent_store import another_program, found, plans, statements, store_over
from tests.support.clock import VirtualClock
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

QUIET_S = 120.0


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def opened(path, clock):
    store, database = store_over(path, clock)
    store.groups.quiet_s = QUIET_S
    yield store, database
    store.close()


def add(store, *names, **more):
    files = [
        replace(found(b"%s" % name.encode(), inode=number, **more), name=name)
        for number, name in enumerate(names)
    ]
    return store.add(files)


def verify(store, recording):
    recording = store.advance(recording, Event.SETTLED)
    recording = store.advance(recording, Event.UPLOAD_CREATED, upload_id="b" * 32)
    recording = store.advance(recording, Event.ALL_ACKNOWLEDGED, digest=Digest(bytes(32)))
    receipt = Receipt(
        upload_id="b" * 32,
        device="cam",
        name=recording.name,
        length=1,
        digest=Digest(bytes(32)),
        verified_at="2026-11-21T00:00:00Z",
        verified_against="client",
        published_as=f"cam/{recording.name}",
    )
    return store.advance(
        recording, Event.RECEIPT_STORED, receipt=receipt, verified_at=receipt.verified_at
    )


def names(store, group):
    return [one.name for one in store.groups.members(group, 100)]


def test_a_file_alone_is_no_group_and_costs_no_look(store, clock):
    alone, _ = add(store, "a.mp4", "b.mp4")

    clock.pass_s(10 * QUIET_S)

    assert store.groups.of(alone.id) is None
    assert store.groups.due(9) == []
    assert store.groups.next_s() is None


def test_the_second_file_makes_it_a_group_that_is_looked_at_after_the_quiet_time(store, clock):
    video, telemetry = add(store, "DJI_0001.MP4", "DJI_0001.SRT")

    assert store.groups.of(video.id) == store.groups.of(telemetry.id)
    assert store.groups.due(9) == []
    assert store.groups.next_s() == QUIET_S
    clock.pass_s(QUIET_S)
    [group] = store.groups.due(9)
    assert names(store, group) == ["DJI_0001.MP4", "DJI_0001.SRT"]
    assert group.title == "DJI_0001"


def test_a_later_recording_has_those_before_it_looked_at_at_once(store):
    add(store, "DJI_0001.MP4", "DJI_0001.SRT")

    add(store, "DJI_0002.MP4")

    [group] = store.groups.due(9)
    assert store.groups.has_later(group)


def test_a_counter_that_begins_anew_makes_other_groups(store):
    first = add(store, "DJI_0001.MP4", "DJI_0001.SRT")

    again = add(store, "DJI_0001.MP4", "DJI_0001.SRT")

    before, after = store.groups.of(first[0].id), store.groups.of(again[0].id)
    assert before is not None
    assert before != after
    assert after == store.groups.of(again[1].id)
    assert names(store, before) == names(store, after) == ["DJI_0001.MP4", "DJI_0001.SRT"]


def test_a_file_that_changed_takes_the_place_of_what_it_was(store):
    video, telemetry = add(store, "DJI_0001.MP4", "DJI_0001.SRT")
    verify(store, video)

    [changed] = add(store, "DJI_0001.MP4", supersedes="cam/DJI_0001.MP4")

    group = store.groups.of(telemetry.id)
    assert store.groups.of(changed.id) == group
    assert [one.number for one in store.groups.members(group, 9)] == [changed.seq, telemetry.seq]


def test_a_receipt_has_its_group_looked_at_and_outlives_its_recording(store, database_of):
    proxy, _ = add(store, "DJI_0001.LRF", "DJI_0001.MP4")

    verify(store, proxy)
    [group] = store.groups.due(9)
    database_of("DELETE FROM recording WHERE name = 'DJI_0001.LRF'")

    gone, there = store.groups.members(group, 9)
    assert (gone.state, gone.has_arrived, gone.receipt.length) == (None, True, 1)
    assert (there.state, there.has_arrived) == (State.SEEN, False)


@pytest.fixture
def database_of(path):
    def run(sql):
        with another_program(path) as connection:
            connection.execute(sql)

    return run


def test_a_renamed_recording_leaves_its_group_for_that_of_its_name(store):
    video, telemetry, other = add(store, "a.mp4", "a.srt", "b.mp4")

    store.update(telemetry, name="b.srt", path=b"/media/b.srt")

    assert names(store, store.groups.of(other.id)) == ["b.mp4", "b.srt"]
    assert names(store, store.groups.of(video.id)) == ["a.mp4"]


def test_of_one_priority_the_smallest_that_says_most_goes_first(store):
    add(store, "a.mp4", "a.lrv", "a.srt", "a.thm")

    assert [one.name for one in store.due(*PENDING, limit=9)] == [
        "a.thm",
        "a.srt",
        "a.lrv",
        "a.mp4",
    ]


def test_a_priority_of_the_owners_is_above_any_role(store):
    store.priority_of = lambda found: int(found.name == "b.mp4")
    add(store, "a.srt", "b.mp4", "c.mp4")

    assert [one.name for one in store.due(*PENDING, limit=9)] == ["b.mp4", "a.srt", "c.mp4"]


def test_originals_are_left_out_but_for_those_that_a_person_wants_now(store):
    wanted, *_ = add(store, "a.mp4", "b.mp4", "b.lrv", "c.mp4")
    store.holdings.want_now([wanted.id], 1001)

    due = store.due(*PENDING, originals_from=1001, limit=9)

    assert [one.name for one in due] == ["a.mp4", "b.lrv"]
    assert store.groups.originals(PENDING) == (2, 2)


def test_pages_without_originals_follow_each_other(store):
    add(store, *(f"{number}.{ending}" for number in range(9) for ending in ("mp4", "srt", "lrv")))

    walked, after = [], None
    while page := store.due(*PENDING, after=after, originals_from=1001, limit=4):
        walked += page
        after = page[-1]

    assert [one.role for one in walked] == [Role.SIDECAR] * 9 + [Role.PROXY] * 9


def test_what_an_earlier_version_remembered_joins_its_group_once(store, database_of):
    video, _, done = add(store, "a.mp4", "a.srt", "b.srt")
    verify(store, done)
    database_of("DELETE FROM group_member")
    database_of("UPDATE recording SET role = 0")

    for _ in range(2):
        adopt_all(store)

    assert names(store, store.groups.of(video.id)) == ["a.mp4", "a.srt"]
    assert [one.role for one in store.due(*PENDING, limit=9)] == [Role.SIDECAR, Role.ORIGINAL]


def test_what_is_small_is_found_by_index_whatever_waits_before_it(store, database):
    with statements(database) as asked:
        store.due(State.STABLE, originals_from=1001, limit=3)

    on_recordings = [step for step in plans(database, asked) if "recording" in step]
    assert len(on_recordings) == 2
    assert any("USING INDEX recording_small (state=? AND turn" in step for step in on_recordings)
    assert any("USING INDEX recording_ahead (state=? AND turn" in step for step in on_recordings)


def test_groups_of_which_nothing_is_remembered_are_forgotten_from_the_oldest(store, database_of):
    old, _ = add(store, "DJI_0001.MP4", "DJI_0001.SRT")
    group = store.groups.of(old.id)
    database_of("UPDATE file_group SET look_s = NULL")
    database_of("DELETE FROM recording")
    store.groups.forget_old(10)
    assert names(store, group)

    database_of(
        "INSERT INTO file_group (seq, id, family, title, found_s) VALUES (9000, 'x', 'stem', 'x', 0)"
    )
    store.groups.forget_old(10)

    assert names(store, group) == []


def test_what_changed_while_the_server_was_told_is_told_again(store, clock):
    add(store, "DJI_0001.MP4", "DJI_0001.SRT")
    clock.pass_s(QUIET_S)
    [group] = store.groups.due(9)

    add(store, "DJI_0001.LRF")
    store.groups.told(group, b"digest", is_complete=True)
    clock.pass_s(QUIET_S)

    [again] = store.groups.due(9)
    assert (again.seq, again.told) == (group.seq, b"digest")
