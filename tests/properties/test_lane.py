"""The lane never spins and never stops, whatever the link and the server do."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.core.upload import State
from tests.support.examples import examples
from tests.support.lane import scene
from tests.support.link import FINE, LOGIN_PAGE, Fault, problem

LENGTH = 200 * 1024

faults = st.one_of(
    st.just(FINE),
    st.builds(Fault, cut_after=st.integers(0, LENGTH)),
    st.builds(Fault, lose_request=st.just(True), delay_s=st.floats(0, 70)),
    st.just(Fault(lose_answer=True)),
    st.just(Fault(repeat=True)),
    st.just(LOGIN_PAGE),
    st.just(Fault(answer=(302, {"Location": "http://login/"}, b""))),
    st.builds(
        lambda which, wait: problem(*which, **({"Retry-After": wait} if wait else {})),
        st.sampled_from(
            [
                (400, "body-truncated"),
                (401, "unauthorized"),
                (403, "device-mismatch"),
                (404, "upload-not-found"),
                (404, "not-found"),
                (408, "request-timeout"),
                (409, "superseded"),
                (409, "not-open"),
                (409, "ranges-missing"),
                (410, "upload-expired"),
                (422, "idempotency-key-reused"),
                (429, "too-many-requests"),
                (500, "internal"),
                (503, "stopping"),
                (507, "storage-full"),
                (507, "quota-exceeded"),
            ]
        ),
        st.sampled_from(["", "0", "3", "1e9", "-1", "soon", "Sat, 21 Nov 2026 00:00:00 GMT"]),
    ),
)


@pytest.mark.timeout(600)
@settings(
    max_examples=examples(75),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
@given(st.lists(faults, max_size=30), st.floats(0, 0.999))
def test_after_any_run_of_faults_the_recording_arrives_and_no_step_spins(run, jitter):
    with tempfile.TemporaryDirectory() as base, scene(Path(base)) as stage:
        stage.lane.jitter = lambda: jitter
        stage.lane.record("empty.mp4", b"")
        recording = stage.lane.record("a.mp4", bytes(range(256)) * (LENGTH // 256))
        stage.link.script(*run)
        steps_at_once = 0
        for _ in range(3000):
            if stage.lane.now(recording).state is State.VERIFIED:
                break
            before = (stage.clock.now_s(), len(stage.link.requests))
            wait_s = stage.lane.step()
            after = (stage.clock.now_s(), len(stage.link.requests))
            steps_at_once = 0 if wait_s > 0 or after != before else steps_at_once + 1
            # Without a request and without time: hashing, a transition, choosing the next.
            assert steps_at_once <= 4

        assert stage.lane.now(recording).state is State.VERIFIED
        assert stage.published()["a.mp4"] == bytes(range(256)) * (LENGTH // 256)
        # Bounded work: each fault costs a few requests, not a flood.
        assert len(stage.link.requests) <= 20 + 6 * len(run)
