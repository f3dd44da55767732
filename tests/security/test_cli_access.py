"""`ingest-server token`, `claim` and `webhook`, as an operator types them."""

import argparse
import json
from contextlib import closing

import pytest

from ingest_server.cli import main
from ingest_server.operate.text import moment
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.support.console import Operator
from tests.support.small_disk import small_disk


@pytest.fixture
def run(tmp_path, capsys):
    config = tmp_path / "server.toml"
    config.write_text('[server]\ndata_dir = "data"\n[log]\naudit_file = "audit.jsonl"\n')

    def command(*arguments):
        code = main([*arguments, "--config", str(config)])
        return code, capsys.readouterr().out

    vars(command)["config"] = config
    return command


def test_a_token_has_the_scopes_and_the_end_that_were_asked_for(run):
    code, out = run(
        "token", "add", "ops", "--scope", "admin", "--scope", "upload", "--expires", "2y"
    )
    _, listed = run("token", "list", "--json")

    [token] = json.loads(listed)
    assert code == 0
    assert out.splitlines()[-1].startswith("edt_ops_")
    assert token["scopes"] == ["admin", "upload"]
    assert token["expires_at"] > token["created_at"]


def test_a_second_token_for_a_device_names_the_first_and_how_it_is_ended(run, capsys):
    run("token", "add", "cam-1")
    first = json.loads(run("token", "list", "--json")[1])[0]["token_id"]
    capsys.readouterr()

    code = main(["token", "add", "cam-1", "--config", str(run.config)])

    told = capsys.readouterr()
    assert (code, told.out[:10]) == (0, "edt_cam-1_")
    assert f"token revoke {first}" in told.err


def test_a_claim_token_is_made_shown_and_revoked(run, tmp_path):
    code, out = run("claim", "add", "--devices", "3", "--expires", "30d")
    claim_id = out.split("_")[1]

    assert (code, out[:4]) == (0, "edc_")
    assert run("claim", "revoke", claim_id)[0] == 0
    assert run("claim", "revoke", claim_id)[0] == 1
    [listed] = json.loads(run("claim", "list", "--json")[1])
    assert (listed["claim_id"], listed["devices"], listed["used"]) == (claim_id, 3, 0)
    assert listed["revoked_at"]
    noted = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(one["actor"], one["action"]) for one in noted] == [
        ("cli", "claim.add"),
        ("cli", "claim.revoke"),
    ]


def test_webhooks_without_events_are_an_empty_list_and_nothing_to_replay(run):
    run("token", "add", "drone-01")  # it makes the database

    assert run("webhook", "list", "--json") == (0, "[]\n")
    assert run("webhook", "replay", "dead")[0] == 0
    assert run("webhook", "replay", "evt_unknown")[0] == 1


@pytest.mark.parametrize("text", ["", "soon", "90", "-1d", "2027-13-01", "999999y"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError):
        moment(text)


def test_on_a_full_disk_a_command_prints_nothing_but_what_was_asked_for(tmp_path, capsys):
    with small_disk(tmp_path / "disk", size="48m") as disk:
        operator = Operator(disk.path, capsys)
        with closing(SqliteState.open(operator.data_dir / "state.db")) as state:
            assert state.keep_reserve()
        disk.fill()

        code, out, err = operator.run("token", "add", "cam-1")

        assert code == 0
        assert len(out.splitlines()) == 1
        assert out.startswith("edt_cam-1_")
        assert "storage.reserve_used" in err
