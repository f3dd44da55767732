"""A lane whose server lets bytes go straight to its store, and something about that is not as agreed."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from edge_agent.base.errors import ChannelError, LinkDownError, NotOurServerError
from edge_agent.base.reasons import ProblemCode
from edge_agent.core.upload import State
from tests.support.memory_lane import MemoryLane, memory_lane
from tests.support.memory_server import MemoryClient
from upload_protocol.direct import SignedPart

MIB = 1024 * 1024
DATA = os.urandom(3 * MIB)


class DirectClient(MemoryClient):
    """Of a server whose store takes what comes, and which does with reports what a test says."""

    def __init__(self, lane):
        super().__init__(lane.server)
        self.lane = lane

    def create(self, request, key):
        return self._offering(super().create(request, key))

    def status(self, upload_id):
        return self._offering(super().status(upload_id))

    def _offering(self, status):
        return replace(status, limits=replace(status.limits, direct_part_bytes=MIB))

    def sign_parts(self, upload_id, parts):
        self.lane.meet("sign")
        return [SignedPart(one.range, one.digest, "p", "http://store/p", {}) for one in parts]

    def put_part(self, part, body):
        self.lane.at_store.append(b"".join(body))

    def report_parts(self, upload_id, parts):
        self.lane.meet("report")
        upload = self.server.find(upload_id)
        if self.lane.records:
            for one in parts:
                data = self.lane.at_store[-1]
                self.server.keep(upload, one.range.start, data)
        return self._offering(upload.status(self.server.limits))


class DirectLane(MemoryLane):
    def __post_init__(self):
        self.at_store, self.records = [], True
        self.errors = {}
        super().__post_init__()

    def meet(self, duty):
        if (error := self.errors.get(duty)) is not None:
            raise error

    def _connect(self):
        return DirectClient(self)


@pytest.fixture
def lane(tmp_path):
    with memory_lane(tmp_path, kind=DirectLane, upload={"min_request": MIB}) as made:
        yield made


def delivered(lane, steps=60):
    recording = lane.record("clip.mp4", DATA)
    lane.run(steps=steps, until=lambda: lane.now(recording).state is State.VERIFIED)
    assert lane.server.published == {"clip.mp4": DATA}


def test_what_the_store_has_and_the_server_has_recorded_arrives_and_goes_once(lane):
    delivered(lane)

    assert sum(map(len, lane.at_store)) == len(DATA)
    assert ProblemCode.DIRECT_UNREACHABLE not in lane.activity.problems


@pytest.mark.parametrize("duty", ["sign", "report"])
@pytest.mark.parametrize(
    "error",
    [
        ChannelError("not-found: no such resource"),
        NotOurServerError("answer 403 without a problem document: a proxy"),
    ],
    ids=["another version", "a proxy"],
)
def test_whoever_does_not_know_of_that_way_does_not_hold_up_the_other(lane, duty, error):
    lane.errors[duty] = error

    delivered(lane)

    assert len(lane.at_store) == (duty == "report")
    assert ProblemCode.DIRECT_UNREACHABLE in lane.activity.problems


def test_what_a_server_does_not_record_at_its_store_goes_through_it_and_not_there_for_ever(lane):
    lane.records = False

    delivered(lane)

    assert len(lane.at_store) == 1
    assert ProblemCode.DIRECT_UNREACHABLE in lane.activity.problems


def test_what_the_server_was_not_told_of_is_told_and_goes_once(lane):
    lane.errors["report"] = LinkDownError("no answer")
    lane.record("clip.mp4", DATA)
    lane.step()
    lane.run(steps=10, until=lambda: bool(lane.at_store))
    lane.errors.clear()

    lane.run(steps=60, until=lambda: bool(lane.server.published))

    assert lane.server.published == {"clip.mp4": DATA}
    assert sum(map(len, lane.at_store)) == len(DATA)
