"""What is sent while it is recorded keeps to the owner's rules, and whatever befalls it the copy is true."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from itertools import pairwise

import pytest

from edge_agent.base.errors import StoreError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.core.data_plan import DataPlan
from edge_agent.core.link_rule import LinkRule
from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, State
from edge_agent.media.identity import identity_of
from edge_agent.report.recording_row import describe
from edge_agent.send import sent_unfinished
from edge_agent.send.link_policy import OwnerRules
from edge_agent.send.while_recording import WhileRecording
from tests.support.lane import Scene, scene
from tests.support.link import FINE, Fault, Request, problem

MIB = 1024 * 1024
DATA = random.Random(1).randbytes(8 * MIB)
BEHIND = 7 * MIB
"""What of it is old enough to be sent."""


def always(_: Recording) -> bool:
    return True


class Stage:
    """A device on whose folder somebody records."""

    def __init__(self, made: Scene) -> None:
        self.scene, self.lane, self.link = made, made.lane, made.link
        self.interface = "eth0"
        self.lane.interface = lambda: self.interface
        self.lane.restart()
        self.worker = self._worker()

    def restart(self) -> None:
        self.worker.close()
        self.lane.restart()
        self.worker = self._worker()

    def _worker(self) -> WhileRecording:
        return WhileRecording(
            self.lane.sender.shared,
            self.lane._connect,
            self.lane.folders(
                while_recording=["*.ts"], append=["*.ts"] if self.lane.appends is always else []
            ),
            way=self.lane.way,
            jitter=lambda: 0.5,
        )

    def begin(self, name: str, data: bytes = DATA) -> Recording:
        recording = self.lane.record(name, data)
        seen = self.lane.store.advance(recording, Event.SOURCE_CHANGED)
        return self.lane.store.advance(seen, Event.GREW)

    def write(self, recording: Recording, data: bytes, at: int) -> None:
        fd = os.open(recording.path, os.O_WRONLY)
        os.pwrite(fd, data, at)
        os.close(fd)

    def finish(self, recording: Recording) -> None:
        now = self.lane.now(recording)
        identity = identity_of(os.stat(now.path))
        self.lane.store.advance(now, Event.SETTLED, identity=identity)
        self.lane.run()

    def pass_steps(self, steps: int = 40, *, written: Recording | None = None) -> None:
        """Let the worker work; at *written* its recorder does, too."""
        for number in range(steps):
            if written is not None:
                os.utime(written.path, ns=(number, number))
            self.lane.clock.pass_s(self.worker.step(self.lane.clock.now_s()))

    def is_true(self, recording: Recording, name: str) -> bool:
        with open(recording.path, "rb") as file:
            return self.scene.published().get(name) == file.read()


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        made.link.bytes_per_s = MIB
        stage = Stage(made)
        yield stage
        stage.worker.close()


def puts(stage: Stage) -> int:
    return stage.link.body_bytes


def test_all_but_what_was_written_last_is_sent_and_nothing_is_published(stage):
    recording = stage.begin("a.ts")
    stage.link.bytes_per_s = 8 * MIB
    stage.pass_steps(5, written=recording)

    assert puts(stage) - BEHIND in range(2000), "the create has a body, too"
    assert stage.lane.now(recording).state is State.GROWING
    assert stage.scene.published() == {}

    stage.finish(recording)

    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.is_true(recording, "a.ts")
    assert puts(stage) - len(DATA) in range(4000)


@pytest.mark.parametrize("bytes_per_s", [16_000, 125_000, 500_000, 900_000])
def test_what_the_camera_saw_ten_seconds_ago_has_arrived(stage, bytes_per_s):
    recording, clock = stage.begin("a.ts", b""), stage.lane.clock
    began_s = clock.now_s()

    def length_s_ago(seconds: float) -> int:
        return int(max(0.0, clock.now_s() - began_s - seconds) * bytes_per_s)

    late = []
    while (length := length_s_ago(0.0)) < min(60 * bytes_per_s, len(DATA)):
        with open(recording.path, "ab") as file:
            file.write(DATA[file.tell() : length])
        clock.pass_s(stage.worker.step(clock.now_s()))
        [upload, *_] = stage.scene.server.store.state.page(
            device="cam", state=None, after=None, limit=1
        ) or [None]
        arrived = 0 if upload is None else upload.received.prefix
        late.append(length_s_ago(10.0) - arrived)

    assert max(late) <= 0
    stage.finish(recording)
    assert stage.is_true(recording, "a.ts")
    assert puts(stage) - os.stat(recording.path).st_size < 16_000, "no byte went twice"


def test_of_a_log_that_was_sent_before_only_what_is_new_is_sent_while_it_is_written(stage):
    stage.lane.appends = always
    stage.restart()
    before = stage.lane.record("a.ts", DATA)
    stage.lane.run()
    sent = puts(stage)
    more = random.Random(2).randbytes(4 * MIB)
    after = stage.lane.write_on(before, more)
    seen = stage.lane.store.advance(after, Event.SOURCE_CHANGED)
    after = stage.lane.store.advance(seen, Event.GREW)
    stage.pass_steps()
    while_written = puts(stage) - sent
    stage.finish(after)

    assert while_written - len(more) in range(4000)
    assert puts(stage) - sent - len(more) in range(8000)
    assert sorted(stage.scene.published().values(), key=len) == [DATA, DATA + more]


def test_a_file_at_rest_is_sent_to_its_end_and_a_header_written_at_the_close_goes_again_then(stage):
    recording = stage.begin("a.ts", DATA + b"tail")
    stage.pass_steps()
    before = puts(stage)
    stage.write(recording, b"size", 40)
    stage.pass_steps()
    at_rest = puts(stage)
    stage.finish(recording)

    assert before - len(DATA + b"tail") in range(2000), "the tail, too"
    assert at_rest - before == MIB
    assert puts(stage) - at_rest < 4000, "nothing is left for its end"
    assert stage.is_true(recording, "a.ts")
    stage.pass_steps(1)
    totals = stage.lane.store.notes.totals()
    assert (totals.bytes_sent, totals.bytes_resent) == (len(DATA) + 4 + MIB, MIB)


def test_a_header_that_is_written_at_each_pause_goes_again_once(stage):
    recording = stage.begin("a.ts")
    stage.pass_steps()
    before = puts(stage)
    for number in range(5):
        stage.write(recording, b"%d" % number, 40)
        stage.pass_steps()

    assert puts(stage) - before == MIB


def test_a_tail_that_was_sent_at_rest_and_grew_on_does_not_go_twice(stage):
    recording = stage.begin("a.ts", DATA + b"t" * 1000)
    stage.pass_steps()
    stage.write(recording, b"u" * 1000, len(DATA) + 1000)
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert puts(stage) - len(DATA) - 2000 in range(6000)


def test_who_waits_sees_how_far_the_server_is_behind(stage):
    recording = stage.begin("a.ts")
    stage.pass_steps(4)
    view = stage.lane.activity.view()
    row = describe(stage.lane.now(recording), view)
    [travel] = view.travels.values()
    stage.finish(recording)
    stage.pass_steps(1)

    assert 0 < row["acknowledged"] < row["length"] == len(DATA)
    assert row["reason"] == "still_recording"
    assert f"of 8.4 MB are at the server, {travel.lag_s:.0f} s behind the recorder" in row["detail"]
    assert stage.lane.activity.view().travels == {}


def test_names_that_nobody_asked_for_and_short_files_are_left_to_their_end(stage):
    stage.begin("a.mp4")
    stage.begin("short.ts", DATA[: 2 * MIB - 1])
    stage.pass_steps()

    assert puts(stage) == 0


def test_a_metered_link_carries_it_only_where_its_rule_says_so(stage):
    stage.interface = "wwan0"
    rule = LinkSettings(match="wwan*", metered=True, daily_bytes=10**9)
    stage.begin("a.ts")
    stage.lane.sender.reconfigure(UploadSettings(), [rule])
    stage.pass_steps()
    before = puts(stage)
    stage.lane.sender.reconfigure(
        UploadSettings(), [rule.model_copy(update={"while_recording": True})]
    )
    stage.pass_steps()

    assert before == 0
    assert puts(stage) >= BEHIND


def test_a_request_that_is_under_way_when_the_link_becomes_a_metered_one_is_broken_off(stage):
    recording = stage.begin("a.ts")
    rule = LinkSettings(match="wwan*", metered=True, daily_bytes=10**9)
    stage.lane.sender.reconfigure(UploadSettings(), [rule])
    stage.pass_steps(2)
    before = puts(stage)
    stage.link.bytes_per_s = MIB // 8  # what was measured before makes the next request long

    def begun(_: object) -> object:
        stage.interface = "wwan0"
        return FINE

    stage.link.schedule = begun
    stage.pass_steps()

    assert 0 < puts(stage) - before < MIB
    assert stage.lane.now(recording).state is State.GROWING


def test_what_is_left_of_a_data_plan_is_not_gone_beyond_by_more_than_a_piece(stage):
    stage.interface = "wwan0"
    stage.link.bytes_per_s = 100 * MIB
    link = LinkRule("wwan*", metered=True, while_recording=True, plan="sim")
    plan = DataPlan("sim", 7 * MIB // 2)
    stage.lane.sender.go_by(OwnerRules([link], plans={"sim": plan}))
    stage.begin("a.ts")
    stage.pass_steps()

    assert plan.length <= puts(stage) <= plan.length + MIB // 2


def test_however_many_others_are_written_to_what_is_asked_for_is_sent(stage):
    for number in range(40):
        stage.begin(f"{number}.mp4", b"x")
    stage.begin("a.ts")
    stage.pass_steps()

    assert puts(stage) >= BEHIND


def test_a_pause_and_a_finished_recording_come_first(stage):
    growing = stage.begin("a.ts")
    stage.lane.sender.pause(True)
    stage.pass_steps()
    while_paused = puts(stage)
    stage.lane.sender.pause(False)
    finished = stage.lane.record("b.mp4", DATA[:MIB])
    stage.pass_steps()
    while_due = puts(stage)
    stage.lane.run()
    stage.pass_steps()

    assert (while_paused, while_due) == (0, 0)
    assert stage.lane.now(finished).state is State.VERIFIED
    stage.finish(growing)
    assert stage.is_true(growing, "a.ts")


def test_a_broken_request_costs_what_was_in_flight_and_a_restart_goes_on(stage):
    recording = stage.begin("a.ts")
    stage.link.script(Fault(cut_after=3 * MIB // 2), Fault(lose_answer=True), only="PUT")
    stage.pass_steps(4)
    stage.restart()
    stage.pass_steps()
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert puts(stage) <= len(DATA) + 64 * 1024 + 4000, "a piece at most went twice"


def test_requests_that_never_pass_are_tried_at_growing_intervals(stage):
    recording = stage.begin("a.ts")
    begun_s = []

    def lost(request: Request) -> Fault:
        if request.method != "PUT":
            return FINE
        begun_s.append(stage.lane.clock.now_s())
        return Fault(delay_s=20.0, lose_request=True)

    stage.link.schedule = lost
    stage.pass_steps(200)
    stage.link.schedule = lambda request: FINE
    stage.finish(recording)

    between_s = [later - earlier for earlier, later in pairwise(begun_s)]
    assert between_s[0] < 25
    assert between_s[-1] > 40
    assert stage.is_true(recording, "a.ts")


def test_what_cannot_be_counted_now_is_sent_and_counted_later(stage, monkeypatch):
    monkeypatch.setattr(sent_unfinished, "COUNTED_BYTES", MIB)
    notes, counted, is_full = stage.lane.store.notes, [], True

    def count_sent(*, sent: int, resent: int) -> None:
        if is_full:
            raise StoreError("the disk is full")
        counted.append(sent)

    monkeypatch.setattr(notes, "count_sent", count_sent)
    stage.begin("a.ts")
    stage.pass_steps()
    is_full = False
    stage.pass_steps(1)

    assert puts(stage) >= BEHIND
    assert counted == [len(DATA)]


def test_a_create_whose_answer_is_lost_makes_no_second_upload(stage):
    recording = stage.begin("a.ts")
    stage.link.script(Fault(lose_answer=True), only="POST")
    stage.pass_steps()
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert puts(stage) <= len(DATA) + 4000


@pytest.mark.parametrize(
    "answer",
    [
        problem(410, "upload-expired"),
        problem(409, "not-open"),
        problem(413, "too-large"),
        Fault(answer=(413, {"Content-Type": "text/html"}, b"too large")),
    ],
    ids=["expired", "not open", "too large", "a proxy"],
)
def test_what_the_server_refuses_is_left_to_its_end_and_arrives_then(stage, answer):
    recording = stage.begin("a.ts")
    stage.link.schedule = lambda request: answer if request.method == "PUT" else FINE
    stage.pass_steps()
    asked = len(stage.link.requests)
    stage.pass_steps()
    was_left = len(stage.link.requests) == asked
    stage.link.schedule = lambda request: FINE
    stage.finish(recording)

    assert was_left, "nothing more was tried"
    assert stage.is_true(recording, "a.ts")


def test_a_full_server_is_asked_again_when_it_says(stage):
    recording = stage.begin("a.ts")
    full = problem(507, "storage-full", **{"Retry-After": "30"})
    stage.link.script(full, only="PUT")
    stage.pass_steps(10)
    early = puts(stage)
    stage.pass_steps(60)

    assert early < MIB
    assert puts(stage) >= BEHIND
    stage.finish(recording)
    assert stage.is_true(recording, "a.ts")


def test_a_server_that_says_later_is_not_asked_for_another_recording_meanwhile(stage):
    for name in ("a.ts", "b.ts", "c.ts"):
        stage.begin(name)
    full = problem(507, "storage-full", **{"Retry-After": "30"})
    stage.link.schedule = lambda request: full if request.method == "PUT" else FINE
    stage.pass_steps(20)

    assert [one.method for one in stage.link.requests].count("PUT") == 1


@pytest.mark.parametrize("where", [0, 3 * MIB + 5, 6 * MIB])
def test_a_block_that_was_rewritten_after_it_was_sent_goes_again_alone(stage, where):
    recording = stage.begin("a.ts")
    stage.pass_steps()
    stage.write(recording, b"rewritten", where)
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert puts(stage) <= len(DATA) + MIB + 4000
    assert stage.lane.events("checksum.failed") == [], "it was found before it was completed"


def test_a_file_that_is_gone_or_another_by_its_name_is_not_sent(stage):
    gone = stage.begin("gone.ts")
    other = stage.begin("other.ts")
    os.unlink(gone.path)
    newer = stage.lane.media / "newer"
    newer.write_bytes(DATA)
    os.rename(newer, other.path)
    stage.pass_steps()

    assert puts(stage) == 0
    assert stage.lane.now(gone).state is State.GROWING, "the watcher says what became of it"


@pytest.mark.parametrize("length", [MIB + 7, 3 * MIB, 0])
def test_a_file_that_ends_shorter_than_what_was_sent_is_begun_anew(stage, length):
    recording = stage.begin("a.ts")
    stage.pass_steps()
    os.truncate(recording.path, length)
    stage.finish(recording)

    assert stage.is_true(recording, "a.ts")
    assert Reason.BACKOFF not in stage.lane.reasons, "nothing was refused on the way"
    assert puts(stage) <= len(DATA) + length + 4000
    left, _ = stage.scene.server.receiver.listing("cam", state="open", after=None, limit=9)
    assert [held.received.total for held in left] == [len(DATA)], "the server alone has them"


def test_a_file_that_becomes_shorter_while_it_is_sent_is_left_to_its_end(stage):
    recording = stage.begin("a.ts")
    stage.pass_steps(3)
    partly = puts(stage)
    asked = len(stage.link.requests)
    os.truncate(recording.path, 2 * MIB)
    stage.pass_steps()
    is_left = len(stage.link.requests) == asked
    stage.write(recording, DATA[: 5 * MIB], 0)
    stage.finish(recording)

    assert 0 < partly < BEHIND
    assert is_left
    assert stage.is_true(recording, "a.ts")


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
