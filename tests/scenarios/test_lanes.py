"""Several lanes at once, in their threads, against the real server: the laws hold as with one."""

import errno
import os
import random
import sqlite3
import threading
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from edge_agent.media.source import Source
from tests.support.lanes import lanes
from tests.support.link import FINE, Fault
from tests.support.stalling_server import stalling_server

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def stage(tmp_path):
    with lanes(tmp_path) as made:
        yield made


@pytest.mark.slow
def test_several_lanes_send_disjoint_ranges_of_one_file(stage):
    stage.link.bytes_per_s = 8 * MIB
    data = os.urandom(12 * MIB + 17)
    recording = stage.lane.record("a.mp4", data)

    stage.lane.run_all()

    assert stage.published() == {"a.mp4": data}
    assert stage.link.body_bytes == len(data)
    assert stage.lane.now(recording).resent_bytes == 0
    assert stage.link.most_open >= 4
    assert stage.lane.sender.shared.roster.count == 8


def test_a_lane_that_cannot_be_made_is_done_without(stage):
    stage.link.bytes_per_s = 8 * MIB
    more, refusals = stage.lane.more_client, [OSError(errno.EMFILE, "no descriptor left")] * 3

    def scarce():
        if refusals:
            raise refusals.pop()
        return more()

    stage.lane.more_client = scarce
    data = os.urandom(4 * MIB)
    stage.lane.record("a.mp4", data)

    with capture_logs() as logs:
        stage.lane.run_all()

    assert stage.published() == {"a.mp4": data}
    assert refusals == []
    assert sum(line["event"] == "lane.failed" for line in logs) == 1, "said once, not each time"


@pytest.mark.slow
def test_a_lane_for_which_there_is_no_thread_is_not_counted(stage):
    begin, begun, refusals = stage.lane.run_lane, [], [RuntimeError("can't start new thread")] * 2

    def scarce(lane, clock):
        if refusals:
            raise refusals.pop()
        begun.append(lane)
        return begin(lane, clock)

    stage.lane.run_lane = scarce
    stage.link.bytes_per_s = 8 * MIB
    data = os.urandom(4 * MIB)
    stage.lane.record("a.mp4", data)

    stage.lane.run_all()

    assert stage.published() == {"a.mp4": data}
    assert refusals == []
    assert list(stage.lane.sender.lanes[1:]) == begun


def test_work_that_failed_before_it_began_is_nobodys(stage):
    look, failures = stage.lane.transport.live_socket, [RuntimeError("nobody expected that")]

    def once():
        if failures:
            raise failures.pop()
        return look()

    stage.lane.transport.live_socket = once
    stage.lane.record("a.mp4", b"short")
    with pytest.raises(RuntimeError):
        stage.lane.sender.step(stage.clock.now_s())

    stage.lane.run_all(within_s=5)

    assert stage.published() == {"a.mp4": b"short"}


def test_new_settings_are_taken_while_the_store_cannot_be_read(stage):
    stage.link.bytes_per_s = 8 * MIB
    stage.lane.record("a.mp4", os.urandom(6 * MIB))
    with closing(sqlite3.connect(stage.lane.base / "agent.db")) as database:
        database.execute("ALTER TABLE setting RENAME TO hidden")
        with pytest.raises(StoreError):
            stage.lane.store.notes.get("paused")
        stage.lane.sender.reconfigure(stage.lane.upload.model_copy(update={"max_lanes": 3}))
        database.execute("ALTER TABLE hidden RENAME TO setting")

    stage.lane.run_all()

    assert len(stage.lane.sender.lanes) == 3


@pytest.mark.slow
def test_lanes_read_the_file_once_and_hash_it_on_the_way(stage, monkeypatch):
    stage.link.bytes_per_s = 8 * MIB
    data = os.urandom(12 * MIB)
    stage.lane.record("a.mp4", data)
    left_for_the_end = []
    whole = Source.pieces

    def pieces(source, where, **more):
        if where.length > 4 * MIB:
            left_for_the_end.append(where.length)
        return whole(source, where, **more)

    monkeypatch.setattr(Source, "pieces", pieces)
    stage.lane.run_all()

    assert stage.published() == {"a.mp4": data}
    assert left_for_the_end == []


@pytest.mark.slow
def test_many_small_files_share_the_lanes(stage):
    files = {f"{number}.jpg": os.urandom(100 * KIB + number) for number in range(40)}
    for name, data in files.items():
        stage.lane.record(name, data)
    stage.link.schedule = lambda _: Fault(delay_s=0.01)

    stage.lane.run_all()

    assert stage.published() == files
    assert stage.link.body_bytes == sum(map(len, files.values()))
    assert stage.link.most_open >= 4
    # No file is cut in pieces while others wait: each costs a create, its bytes, a complete.
    puts = [one for one in stage.link.requests if one.method == "PUT"]
    assert len(puts) <= 2 * len(files)
    assert [one for one in stage.link.requests if one.method == "GET"] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_L4_with_lanes_no_acknowledged_byte_is_sent_twice_through_a_hundred_cuts(stage, seed):
    draw = random.Random(seed)
    lock = threading.Lock()
    data = draw.randbytes(24 * MIB)
    recording = stage.lane.record("a.mp4", data)
    cuts = 0
    thrown_away = 0

    def cut(request):
        nonlocal cuts, thrown_away
        with lock:
            if request.method != "PUT" or cuts == 100 or request.length < 2 * KIB:
                return FINE
            cuts += 1
            passes = draw.randrange(min(request.length, 200 * KIB))
            thrown_away += min(-passes % (256 * KIB), request.length - passes)
            return Fault(cut_after=passes)

    stage.link.schedule = cut
    stage.lane.run_all(within_s=60)

    assert cuts == 100
    assert stage.published() == {"a.mp4": data}
    assert stage.link.body_bytes <= len(data) + thrown_away
    assert stage.lane.now(recording).resent_bytes == stage.link.body_bytes - len(data)


@pytest.mark.slow
def test_a_connection_that_breaks_while_others_get_through_holds_up_nobody_else(stage):
    stage.link.bytes_per_s = 4 * MIB
    data = os.urandom(16 * MIB)
    stage.lane.record("a.mp4", data)
    seen, cuts = [], []

    def break_some(request):
        seen.append(request)
        # The first requests grow the lanes; then each fifth breaks in its middle, as long as there is
        # so much left that the other lanes are busy: of the last one that is sent, alone, nobody can
        # tell whether its connection broke or the link.
        is_due = request.method == "PUT" and len(seen) > 20 and len(seen) % 5 == 0
        if not is_due or stage.link.body_bytes > 12 * MIB:
            return FINE
        cuts.append(request)
        return Fault(cut_after=request.length // 2)

    stage.link.schedule = break_some
    stage.lane.run_all()

    assert len(cuts) > 1
    assert stage.published() == {"a.mp4": data}
    assert Reason.LINK not in stage.lane.reasons


def test_a_link_that_dies_under_all_lanes_is_one_failure(stage):
    stage.link.bytes_per_s = 4 * MIB
    data = os.urandom(8 * MIB)
    recording = stage.lane.record("a.mp4", data)
    is_dead = threading.Event()
    stage.link.schedule = lambda _: Fault(lose_request=is_dead.is_set())
    stage.lane.activity.subscribe(
        lambda: is_dead.set() if stage.lane.sender.shared.roster.count == 8 else None
    )
    failures = []

    def has_failed():
        failures.append(stage.lane.now(recording).failures)
        return failures[-1] > 0

    stage.lane.run_all(until=has_failed)

    assert failures[-1] <= 2


@pytest.mark.slow
def test_a_restart_in_the_middle_of_eight_lanes_resends_nothing_that_was_acknowledged(stage):
    stage.link.bytes_per_s = 8 * MIB
    data = os.urandom(8 * MIB)
    recording = stage.lane.record("a.mp4", data)
    stage.lane.run_all(until=lambda: stage.link.body_bytes > 3 * MIB)
    open_requests = 8

    stage.lane.restart()
    stage.lane.run_all()

    assert stage.published() == {"a.mp4": data}
    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.link.body_bytes <= len(data) + open_requests * 256 * KIB


@pytest.mark.slow
def test_eight_lanes_that_hang_are_cut_off_within_five_seconds(tmp_path):
    has_grown = threading.Event()
    with (
        stalling_server(takes=lambda: not has_grown.is_set()) as server,
        lanes(tmp_path, url=server.url) as stage,
    ):
        for number in range(12):
            stage.lane.record(f"{number}.mp4", os.urandom(8 * MIB))
        stage.lane.activity.subscribe(
            lambda: has_grown.set() if stage.lane.sender.shared.roster.count == 8 else None
        )
        stop_began_s: list[float] = []

        def all_hang():
            stop_began_s[:] = [stage.clock.now_s()]
            return server.stalling == 8

        stage.lane.run_all(until=all_hang)

        assert stage.clock.now_s() - stop_began_s[0] < 5
        assert not [one for one in threading.enumerate() if one.name.startswith("lane-")]
