"""A request that is tried keeps to the rate that the owner allows, and leaves nothing on the server."""

import httpx
import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import AbortedError, LinkDownError, TransportError
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


class Deaf:
    """Creates that arrive at an ingest server, the first ones of which are answered with *failures*."""

    def __init__(self, monkeypatch, ingest, *failures: BaseException) -> None:
        self._url = ingest.url
        self.asked: list[str] = []
        left, create = list(failures), NativeClient.create

        def deaf(client, request, key):
            status = create(client, request, key)
            self.asked.append(status.id)
            if left:
                raise left.pop(0)
            return status

        monkeypatch.setattr(NativeClient, "create", deaf)

    def listed(self, state):
        found = httpx.get(f"{self._url}/v1/uploads?state={state}").json()["uploads"]
        return [one["id"] for one in found]


def trial_with(ingest, tmp_path):
    settings = AgentSettings(device_id="d", watch={"folder": tmp_path}, server={"url": ingest.url})
    return Trial(settings, SystemClock(), Way())


@pytest.mark.parametrize("failure", [KeyboardInterrupt, LinkDownError, AbortedError])
def test_what_was_made_and_never_answered_is_given_up_too(tmp_path, monkeypatch, failure):
    with server(tmp_path / "server") as ingest:
        deaf = Deaf(monkeypatch, ingest, failure())
        trial = trial_with(ingest, tmp_path)
        with pytest.raises(failure):
            trial.send(1000)
        begun = deaf.listed("open")
        trial.close()

        assert begun == deaf.asked[:1]
        assert deaf.listed("open") == []
        assert (len(set(deaf.asked)), trial.left) == (1, {})


def test_a_second_try_makes_no_second_upload(tmp_path, monkeypatch):
    with server(tmp_path / "server") as ingest:
        deaf = Deaf(monkeypatch, ingest, LinkDownError())
        trial = trial_with(ingest, tmp_path)
        with pytest.raises(LinkDownError):
            trial.send(1000)
        trial.send(1000)
        trial.close()

        assert (deaf.listed("open"), len(set(deaf.asked)), trial.left) == ([], 1, {})


def test_what_cannot_be_asked_for_at_the_end_either_is_no_error(tmp_path, monkeypatch):
    with server(tmp_path / "server") as ingest:
        deaf = Deaf(monkeypatch, ingest, LinkDownError(), LinkDownError())
        trial = trial_with(ingest, tmp_path)
        with pytest.raises(LinkDownError):
            trial.send(1000)
        trial.close()

        assert (len(deaf.asked), trial.left) == (2, {})


def test_what_somebody_refused_is_not_asked_for_again(tmp_path, monkeypatch):
    with server(tmp_path / "server") as ingest:
        deaf = Deaf(monkeypatch, ingest, TransportError())
        trial = trial_with(ingest, tmp_path)
        with pytest.raises(TransportError):
            trial.send(1000)
        trial.close()

        assert len(deaf.asked) == 1
