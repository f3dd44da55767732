"""A request that is tried keeps to the rate that the owner allows."""

import pytest

from edge_agent.base.settings import AgentSettings
from edge_agent.net.way import Way
from edge_agent.send.trial import Trial
from tests.support.clock import VirtualClock


@pytest.mark.parametrize("rate", [20_000, 5_000_000])
def test_a_trial_sends_no_more_in_a_second_than_is_allowed(tmp_path, monkeypatch, rate):
    clock = VirtualClock()
    server = {"url": "http://127.0.0.1:9"}
    settings = AgentSettings(device_id="d", watch={"folder": tmp_path}, server=server)
    trial = Trial(settings, clock, Way(), max_rate=rate)
    monkeypatch.setattr(trial, "_pause", clock.pass_s)
    began_s, sent = clock.now_s(), []

    for piece in trial._body(4 * rate):
        sent.append((clock.now_s() - began_s, len(piece)))

    assert sum(length for _, length in sent) == 4 * rate
    for end in range(1, len(sent) + 1):
        after_s = sent[end - 1][0]
        assert sum(length for _, length in sent[:end]) <= rate * (after_s + 0.25) + 1
