"""No acknowledged byte is sent twice, through cuts and restarts (L4)."""

import random

import pytest

from tests.support.lane import scene
from tests.support.link import FINE, Fault

KIB = 1024
MIB = 1024 * KIB


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(one, marks=pytest.mark.slow) for one in (2, 3))]
)
def test_L4_through_a_hundred_cuts_no_acknowledged_byte_is_sent_twice(tmp_path, seed):
    draw = random.Random(seed)
    with scene(tmp_path) as stage:
        data = draw.randbytes(24 * MIB)
        recording = stage.lane.record("a.mp4", data)
        cuts = 0
        thrown_away = 0

        def cut(request):
            nonlocal cuts, thrown_away
            if request.method != "PUT" or cuts == 100:
                return FINE
            cuts += 1
            passes = draw.randrange(min(request.length, 200 * KIB))
            # The pieces that were read for the wire and did not get through with the cut.
            thrown_away += min(-passes % (256 * KIB), request.length - passes)
            return Fault(cut_after=passes)

        stage.link.schedule = cut
        stage.lane.run()

        assert cuts == 100
        assert stage.published() == {"a.mp4": data}
        assert stage.link.body_bytes <= len(data) + thrown_away
        assert stage.lane.now(recording).resent_bytes == stage.link.body_bytes - len(data)


def test_L4_through_cuts_and_restarts_the_server_is_asked_not_the_memory(tmp_path):
    draw = random.Random(7)
    with scene(tmp_path) as stage:
        data = draw.randbytes(4 * MIB)
        stage.lane.record("a.mp4", data)
        for _ in range(10):
            stage.link.script(Fault(cut_after=100 * KIB), only="PUT")
            stage.link.requests.clear()
            stage.lane.run(until=lambda: any(one.method == "PUT" for one in stage.link.requests))
            stage.lane.restart()
        stage.link.script()

        stage.lane.run()

        assert stage.published() == {"a.mp4": data}
        assert stage.link.body_bytes <= len(data) + 10 * 256 * KIB
