"""What is sent while it is recorded keeps to the owner's rules, and whatever befalls it the copy is true."""

from __future__ import annotations

import os
import random

import pytest

from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.core.data_plan import DataPlan
from edge_agent.core.link_rule import LinkRule
from edge_agent.core.upload import Event, State
from edge_agent.report.recording_row import describe
from edge_agent.send.rules.link_policy import OwnerRules
from tests.support.link import FINE
from tests.support.while_recording import BEHIND, DATA, MIB, always, puts, somebody_records


@pytest.fixture
def stage(tmp_path):
    with somebody_records(tmp_path) as made:
        yield made


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


@pytest.mark.slow
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
