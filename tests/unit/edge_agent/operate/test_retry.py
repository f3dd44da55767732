"""`edge-agent retry`, beside a running agent and without one."""

import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.cli import main
from edge_agent.core.recording import FailureCode, Found, Identity
from edge_agent.core.upload import Event, State
from edge_agent.store.recordings import Store


@pytest.fixture
def device(tmp_path):
    """A configuration, and a store that is closed: no agent runs."""
    config = tmp_path / "agent.toml"
    config.write_text(
        f'device_id = "cam"\nstate_dir = "{tmp_path}"\n[watch]\nfolder = "{tmp_path}"\n'
        '[server]\nurl = "http://127.0.0.1:1"\n'
    )
    return config


def open_store(config):
    return Store.open(config.parent / "agent.db", clock=SystemClock(), boot_id="b")


def with_failed(config, *problems):
    store = open_store(config)
    found = [
        Found(f"/{n}".encode(), "", str(n), Identity(1, n, 1, 1, 1)) for n in range(len(problems))
    ]
    recordings = store.add(found)
    for recording, problem in zip(recordings, problems, strict=True):
        store.advance(recording, Event.REJECTED, problem=problem, detail="d")
    store.close()
    return [one.id for one in recordings]


def states(config):
    store = open_store(config)
    try:
        return [one.state for one in store.in_states(*State)]
    finally:
        store.close()


def test_without_an_agent_the_next_one_tries_again(device, capsys):
    with_failed(device, "too-large", "invalid-name", FailureCode.SOURCE_MISSING)

    assert main(["retry", "--all", "--config", str(device)]) == 0

    assert sorted(states(device)) == [State.FAILED, State.SEEN, State.SEEN]
    assert capsys.readouterr().out == (
        "2 files are tried again by the next start (the agent is not running now)\n"
        "1 cannot be: not there, or not readable; each goes on when it is\n"
    )


def test_one_that_is_named_is_tried_again_and_an_unknown_one_is_said(device, capsys):
    first, _ = with_failed(device, "too-large", "too-large")

    assert main(["retry", first, "nothing", "--config", str(device)]) == 1

    assert states(device) == [State.SEEN, State.FAILED]
    assert (
        "nothing: no failed recording has this file_id; edge-agent status --failed lists those that have"
    ) in capsys.readouterr().out


def test_where_nothing_has_failed_that_is_said(device, capsys):
    with_failed(device)

    assert main(["retry", "--all", "--config", str(device)]) == 0

    assert capsys.readouterr().out == "nothing has failed: there is nothing to try again\n"


@pytest.mark.parametrize("arguments", [[], ["--all", "abc"]])
def test_a_person_says_which(device, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["retry", *arguments, "--config", str(device)])

    assert ended.value.code == 2
    assert "--all" in capsys.readouterr().err
