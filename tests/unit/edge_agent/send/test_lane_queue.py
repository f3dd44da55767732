"""What each lane takes next: together on one large recording, side by side on small ones."""

from dataclasses import replace

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.reasons import Reason
from edge_agent.core.recording import Found, Identity
from edge_agent.core.schedule import URGENT
from edge_agent.core.upload import Event, State
from edge_agent.media.source import Source
from edge_agent.send.description import Descriptions
from edge_agent.send.lane_factory import LaneFactory
from edge_agent.send.lane_queue import LaneQueue
from edge_agent.send.upload_progress import Kind
from edge_agent.store.recordings import Store
from tests.support.present import present
from tests.support.rim import StillClock
from upload_protocol.ranges import ByteRange, RangeSet

LANES = 4
MB, MIB = 1_000_000, 1024 * 1024


class Device:
    """Four lanes of a link of 4 MB/s, which do what a test says and nothing by themselves."""

    def __init__(self, base):
        self.clock, self.activity = StillClock(), Activity()
        self.store = Store.open(base / "agent.db", clock=self.clock, boot_id="boot")
        self.factory = LaneFactory(
            self.store,
            Source.open,
            self.activity,
            self.clock,
            credential=lambda: None,
            descriptions=Descriptions(self.store, "d"),
            jitter=lambda: 0.5,
        )
        self.shared = self.factory.shared
        self.rates = self.shared.rates
        self.shared.roster.count = LANES
        self.rates.most = LANES
        for lane in range(LANES):
            self.rates.of(lane).add(MB, 1.0)
        self.queues = [LaneQueue(lane, self.shared) for lane in range(LANES)]

    def add(self, *lengths):
        number = len(self.store.in_states(*State))
        found = [
            Found(b"/m/%d" % n, "", str(n), Identity(1, n, length, 1, 1))
            for n, length in enumerate(lengths, number + 1)
        ]
        return [self.store.advance(one, Event.SETTLED) for one in self.store.add(found)]

    def begin(self, recording, held=0):
        """Have the server know the upload of *recording*, and its first *held* bytes."""
        sending = self.store.advance(recording, Event.UPLOAD_CREATED, upload_id=recording.id)
        progress = self.shared.uploads.of(sending, self.clock.now)
        progress.learn(RangeSet([ByteRange(0, held)] if held else []))
        return sending

    def take(self, lane):
        """Let *lane* take what is next; return its recording's name and what it does, or None."""
        picked = self.queues[lane].pick(self.clock.now)
        if picked is None:
            return None
        recording, task = picked
        self.shared.uploads.of(recording, self.clock.now).begin(lane, task)
        self.shared.roster.busy[lane] = recording.id
        return recording.name, task

    def end(self, lane):
        recording_id = self.shared.roster.busy.pop(lane)
        recording = present(self.store.get(recording_id))
        self.shared.uploads.of(recording, self.clock.now).end(lane)


@pytest.fixture
def device(tmp_path):
    made = Device(tmp_path)
    yield made
    made.store.close()


def test_all_lanes_send_ranges_of_the_first_large_recording(device):
    first, *_ = device.add(50 * MB, 50 * MB, 50 * MB)
    device.begin(first)

    taken = [device.take(lane) for lane in range(LANES)]

    assert [name for name, _ in taken] == ["1"] * LANES
    ranges = RangeSet()
    for _, task in taken:
        assert ranges.within(task.where).total == 0
        ranges = ranges.add(task.where)


def test_what_may_go_straight_to_the_store_is_cut_at_its_borders(device):
    part, [first] = 8 * MIB, device.add(90 * MIB)
    sending = device.begin(first, held=MIB)
    device.shared.uploads.of(sending, device.clock.now).direct_part_bytes = part

    taken = [device.take(lane)[1].where for lane in range(LANES)]

    assert [(one.start, one.stop % part) for one in taken] == [
        (MIB, 0), (part, 0), (2 * part, 0), (3 * part, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("most", [3 * MIB, 4 * MIB, 5 * MIB, 8 * MIB])
def test_whole_parts_are_no_reason_for_a_request_that_does_not_pass(device, most):
    [first] = device.add(90 * MIB)
    progress = device.shared.uploads.of(device.begin(first), device.clock.now)
    progress.direct_part_bytes, progress.max_request_bytes = 8 * MIB, most

    taken = [device.take(lane)[1].where for lane in range(LANES)]

    assert max(one.length for one in taken) == most


def test_while_one_lane_begins_a_large_recording_the_others_wait_for_that_round_trip(device):
    device.add(50 * MB, 50 * MB)

    (name, task), *others = [device.take(lane) for lane in range(LANES)]

    assert (name, task.kind) == ("1", Kind.CREATE)
    assert others == [None] * (LANES - 1)


def test_small_recordings_go_side_by_side(device):
    device.add(*[100_000] * 10)

    taken = [device.take(lane) for lane in range(LANES)]

    assert [(name, task.kind) for name, task in taken] == [
        (str(lane + 1), Kind.CREATE) for lane in range(LANES)
    ]


def test_the_next_one_begins_when_little_is_left_of_the_one_before(device):
    first, _ = device.add(50 * MB, 50 * MB)
    device.begin(first, held=49 * MB + 900_000)

    taken = [device.take(lane) for lane in range(2)]

    assert [(name, task.kind) for name, task in taken] == [("1", Kind.SEND), ("2", Kind.CREATE)]


def test_a_recording_that_waits_is_in_the_way_of_no_other(device):
    bad, good = device.add(50 * MB, 50 * MB)
    device.begin(bad)
    device.begin(good)
    device.shared.waits.hold(bad.id, Reason.SOURCE_IO, "the disk gives an error", 60.0)

    taken = [device.take(lane) for lane in range(LANES)]

    assert {name for name, _ in taken} == {"2"}


def test_what_a_person_wants_now_is_sent_by_every_lane_and_the_other_goes_on_where_it_was(device):
    big, wanted = device.add(500 * MB, 50 * MB)
    sending = device.begin(big, held=200 * MB)
    for lane in range(LANES):
        device.take(lane)
    device.store.holdings.want_now([wanted.id], URGENT)
    device.begin(replace(wanted, priority=URGENT))

    for lane in range(LANES):
        device.end(lane)
    taken = [device.take(lane) for lane in range(LANES)]

    assert {name for name, _ in taken} == {"2"}
    assert device.shared.uploads.find(sending).held.total == 200 * MB


@pytest.mark.parametrize("newest_first", [False, True])
def test_what_is_begun_is_ended_before_another_is_begun_whichever_goes_first(device, newest_first):
    device.store.send_newest_first(newest_first)
    _, begun, _ = device.add(50 * MB, 50 * MB, 50 * MB)
    device.begin(begun, held=MB)

    taken = [device.take(lane) for lane in range(LANES)]

    assert {name for name, _ in taken} == {"2"}
