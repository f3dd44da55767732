"""A check by the running agent, at its edges: who is there, who goes away, who asks at once."""

import json
import socket
import threading
from contextlib import contextmanager
from typing import Any

import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import AgentError, ConfigError
from edge_agent.base.settings_loading import Loaded, load
from edge_agent.operate.checking import Checking, findings
from edge_agent.operate.commands import RequestError
from edge_agent.operate.control_client import ControlError


@pytest.fixture
def loaded(tmp_path) -> Loaded:
    state, media = tmp_path / "state", tmp_path / "media"
    state.mkdir()
    media.mkdir()
    config = tmp_path / "agent.toml"
    config.write_text(
        f'device_id = "drone-1"\nstate_dir = "{state}"\n[watch]\nfolder = "{media}"\n'
        '[server]\nurl = "http://127.0.0.1:1"\n'
    )
    return load(config, {}, {})


@contextmanager
def an_agent_that_says(loaded: Loaded, *answers: dict[str, Any]):
    """Listen where the agent of *loaded* would, answer one request and go away."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(loaded.settings.state_dir / "control.sock"))
        listener.listen()

        def serve() -> None:
            client, _ = listener.accept()
            with client, client.makefile("rb") as asked:
                asked.readline()
                client.sendall(b"".join(json.dumps(one).encode() + b"\n" for one in answers))

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)


FINE = {"finding": {"level": "OK", "what": "folder", "text": "can be read"}}


def test_a_check_that_was_broken_off_after_good_findings_is_no_good_check(loaded):
    found: list[Any] = []
    with (
        an_agent_that_says(loaded, FINE, {"busy": True}),
        pytest.raises(AgentError, match="went away before its check had ended"),
    ):
        found.extend(findings(lambda _: loaded, is_as_configured=True))

    assert [one.level for one in found] == ["OK"]


def test_a_check_has_ended_when_the_agent_says_so(loaded):
    with an_agent_that_says(loaded, FINE, {"busy": True}, {"done": True}):
        found = list(findings(lambda _: loaded, is_as_configured=True))

    assert [(one.level, one.what) for one in found] == [("OK", "folder")]


@pytest.mark.slow
def test_an_agent_of_an_earlier_version_is_to_be_restarted_and_the_check_is_made_here(loaded):
    with an_agent_that_says(loaded, {"error": "unknown request: status, upload are known"}):
        found = list(findings(lambda _: loaded, is_as_configured=True))

    assert "of a version before this one, so restart it: this checks as user" in found[0].text
    assert {"config", "folder", "server"} <= {one.what for one in found}


def test_an_agent_that_turns_the_question_away_is_not_checked_by_somebody_else(loaded):
    with (
        an_agent_that_says(loaded, {"error": "8 clients are with the agent already"}),
        pytest.raises(ControlError, match="8 clients"),
    ):
        list(findings(lambda _: loaded, is_as_configured=True))


def test_two_checks_at_once_are_one_too_many_and_the_next_is_welcome(loaded):
    may_end = threading.Event()

    def waits() -> Loaded:
        may_end.wait(20)
        raise RuntimeError("it ends here")

    checking = Checking(
        SystemClock(),
        load=waits,
        compare=lambda _: ((), ()),
        in_force=lambda: loaded.settings,
    )
    first = checking.answer({}, threading.Event())
    next(first)

    with pytest.raises(RequestError, match="a check is being made already"):
        next(checking.answer({}, threading.Event()))

    may_end.set()
    for running in (first, checking.answer({}, threading.Event())):
        with pytest.raises(RequestError, match="it ends here"):
            list(running)


@pytest.mark.slow
def test_a_configuration_that_became_wrong_is_a_finding_and_the_old_one_is_checked(loaded):
    def broken() -> Loaded:
        raise ConfigError(["[watch] fodler: there is no such key"])

    checking = Checking(
        SystemClock(),
        load=broken,
        compare=lambda _: ((), ()),
        in_force=lambda: loaded.settings,
    )

    found = [one["finding"] for one in checking.answer({}, threading.Event()) if "finding" in one]

    assert {
        "level": "FAIL",
        "what": "config",
        "text": "[watch] fodler: there is no such key",
    } in found
    assert "folder" in {one["what"] for one in found}


def test_what_breaks_inside_a_check_is_told_and_leaves_no_lock_behind(loaded):
    def broken() -> Loaded:
        raise RuntimeError("a bug")

    checking = Checking(
        SystemClock(),
        load=broken,
        compare=lambda _: ((), ()),
        in_force=lambda: loaded.settings,
    )

    for _ in range(2):
        with pytest.raises(RequestError, match="RuntimeError"):
            list(checking.answer({}, threading.Event()))
