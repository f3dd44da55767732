"""`edge-agent pause` and `resume`, without a running agent: it is written down."""

from edge_agent.base.clock import SystemClock
from edge_agent.cli import main
from edge_agent.net.route import interface_to
from edge_agent.send.rules.link_policy import LinkPolicy
from edge_agent.store.recordings import Store


def is_paused(state_dir):
    store = Store.open(state_dir / "agent.db", clock=SystemClock(), boot_id="b")
    try:
        return LinkPolicy(store, SystemClock()).is_paused
    finally:
        store.close()


def test_a_pause_without_an_agent_is_remembered_for_the_next_one(tmp_path, capsys):
    config = tmp_path / "agent.toml"
    config.write_text(
        f'device_id = "cam"\nstate_dir = "{tmp_path}"\n[watch]\nfolder = "{tmp_path}"\n'
        '[server]\nurl = "http://127.0.0.1:1"\n'
    )

    assert main(["pause", "--config", str(config)]) == 0
    assert is_paused(tmp_path)
    assert main(["resume", "--config", str(config)]) == 0
    assert not is_paused(tmp_path)
    assert "not running" in capsys.readouterr().out


def test_the_way_to_this_machine_leads_over_its_loopback():
    assert interface_to("127.0.0.1") == "lo"
