"""Whatever a clock or a broker does, what exists arrives (L6)."""

import os

from edge_agent.core.upload import Event, State
from tests.support.lane import scene
from tests.support.link import Fault

KIB = 1024
MIB = 1024 * KIB
LETS_GO = {"delete": "after_verified"}


def test_L6_a_clock_in_1970_and_a_dead_broker_hold_up_nothing(tmp_path):
    with scene(tmp_path, retention=LETS_GO) as stage:
        data = os.urandom(MIB)
        recording = stage.lane.record("a.mp4", data)
        os.utime(stage.lane.media / "a.mp4", (10**10, 10**10))
        recording = stage.lane.store.advance(recording, Event.SOURCE_CHANGED)
        stage.lane.settle(recording)

        stage.lane.run()
        stage.lane.let_go()

        assert stage.clock.now_utc().year == 1970
        assert stage.lane.now(recording).state is State.RELEASED
        assert stage.published() == {"a.mp4": data}
        assert stage.lane.store.outbox.undelivered(), "nobody took the events, and nobody waited"


def test_L6_a_wall_clock_that_jumps_in_the_middle_changes_nothing(tmp_path):
    with scene(tmp_path) as stage:
        stage.lane.record("a.mp4", b"x" * MIB)
        stage.link.schedule = lambda _: Fault(answer=None, delay_s=0.1)
        stage.lane.run(until=lambda: stage.link.body_bytes > 0)

        stage.clock.set_wall_forward(years=56)
        stage.lane.run()

        assert stage.published() == {"a.mp4": b"x" * MIB}
