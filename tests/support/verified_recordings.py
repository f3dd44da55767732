"""Recordings that are verified, for the tests of what lets them go."""

from __future__ import annotations

from contextlib import contextmanager

from edge_agent.core.stability import Writer
from edge_agent.core.upload import State
from edge_agent.media.lease import LeaseProbe

DAY_S = 86_400.0


def verified(stage, name="a.mp4", data=b"x", **more):
    recording = stage.lane.record(name, data, **more)
    stage.lane.run()
    assert stage.lane.now(recording).state is State.VERIFIED
    return recording


def clean(stage, steps=5, janitor=None):
    stage.lane.let_go(janitor, steps=steps)


class KnowsNothing(LeaseProbe):
    """As on a file system whose writers the kernel does not know."""

    @contextmanager
    def while_unwritten(self, fd):
        yield Writer.UNKNOWN


def run_for(stage, seconds, step_s=300.0):
    """Let the janitor run for *seconds*, as it does while nothing may go."""
    for _ in range(int(seconds / step_s)):
        stage.lane.janitor.step(stage.clock.now_s())
        stage.clock.pass_s(step_s)


def asked(stage):
    return sum(one.method == "GET" for one in stage.link.requests)
