"""A request that is tried keeps to the rate that the owner allows, and leaves nothing on the server."""

import httpx
import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.base.settings import AgentSettings
from edge_agent.net.way import Way
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.trial import Trial
from tests.support.clock import VirtualClock
from tests.support.in_process import server


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


def test_what_was_made_when_somebody_broke_off_before_the_answer_is_given_up_too(
    tmp_path, monkeypatch
):
    create, asked = NativeClient.create, []

    def broken_off(client, request, key):
        status = create(client, request, key)
        asked.append(status.id)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return status

    def listed(state):
        found = httpx.get(f"{ingest.url}/v1/uploads?state={state}").json()["uploads"]
        return [one["id"] for one in found]

    monkeypatch.setattr(NativeClient, "create", broken_off)
    with server(tmp_path / "server") as ingest:
        settings = AgentSettings(
            device_id="d", watch={"folder": tmp_path}, server={"url": ingest.url}
        )
        trial = Trial(settings, SystemClock(), Way())
        with pytest.raises(KeyboardInterrupt):
            trial.send(1000)
        begun = listed("open")
        trial.close()

        assert begun == asked[:1]
        assert listed("open") == []
        assert (len(set(asked)), trial.left) == (1, {})
