"""A name that is another file's while its own is sought: waited for, and not for ever."""

from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from tests.support.lane import scene


def test_where_nobody_looks_any_more_what_has_the_name_is_taken_after_some_minutes(tmp_path):
    with scene(tmp_path) as stage:
        lane = stage.lane
        recording = lane.record("flight.mp4", b"first", written_s=1000)
        (lane.media / ".next").write_bytes(b"another, in its place")
        (lane.media / ".next").replace(lane.media / "flight.mp4")

        lane.run(until=lambda: recording.id in lane.activity.waits)
        reason = lane.activity.waits[recording.id].reason
        began_s = stage.clock.now_s()
        lane.run(until=lambda: lane.now(recording).state is State.SEEN)

        assert reason is Reason.SOURCE_MISSING
        assert 60 < stage.clock.now_s() - began_s < 300


def test_the_oldest_of_a_ring_that_was_moved_away_is_sought_before_it_is_counted_as_taken(tmp_path):
    with scene(tmp_path) as stage:
        lane = stage.lane
        oldest = lane.record("loop0.mp4", b"first round", written_s=1000)
        lane.record("loop1.mp4", b"second", written_s=1001)
        (lane.media / "archive").mkdir()
        (lane.media / "loop0.mp4").rename(lane.media / "archive/loop0.mp4")
        (lane.media / "loop0.mp4").write_bytes(b"next round")

        lane.run(until=lambda: oldest.id in lane.activity.waits)

        assert lane.activity.waits[oldest.id].reason is Reason.SOURCE_MISSING
        assert lane.now(oldest).state is State.STABLE
        assert lane.store.notes.totals().files_overwritten == 0
