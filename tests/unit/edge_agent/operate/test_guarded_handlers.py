"""What an owner must allow by name: cancelled uploads, the log as a file, a new configuration."""

import os
from typing import Any

import pytest

from edge_agent.base import log_tail
from edge_agent.base.errors import ConfigError
from edge_agent.base.settings import AgentSettings, CommandSettings
from edge_agent.core.command import GUARDED, VOCABULARY
from edge_agent.core.recording import FailureCode
from edge_agent.core.upload import Event, State
from edge_agent.media.folders import Folders
from edge_agent.media.retry import retry_on_new_way
from edge_agent.operate.command_handlers import RecordingHandlers
from edge_agent.operate.guarded_handlers import LOGS, GuardedHandlers
from tests.support.command_site import command_site


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as found:
        made: Any = found  # with what these handlers act on beside it
        made.settings = CommandSettings(allowed=tuple(VOCABULARY))
        made.token_file = tmp_path / "token"
        made.token_file.write_text("a-token-of-this-device\n")
        made.reload = lambda: None
        guard(made)
        yield made


def guard(site):
    """Give the site the guarded commands, as after a start."""
    lane = site.lane
    settings = AgentSettings(
        device_id="cam",
        state_dir=lane.base,
        watch={"folder": lane.media},
        server={"url": "http://127.0.0.1:1", "token_file": site.token_file},
    )

    def reload():
        site.reload()

    recordings = RecordingHandlers(lane.store, lane.sender, wake_watcher=lambda: None)
    site.more = GuardedHandlers(
        settings,
        lane.store,
        lane.sender,
        recordings,
        clock=lane.clock,
        folders=Folders(settings.watch),
        wake_watcher=lambda: None,
        reload=reload,
    ).handlers()
    site.open()


def restart(site):
    site.lane.restart()
    guard(site)


def test_none_of_them_is_executed_unless_the_owner_names_it(site):
    site.desk.reconfigure(CommandSettings())
    args = {"cancel": {"file_id": "a"}, "upload_log": {"lines": 1}, "reload": {}}

    assert set(args) == GUARDED
    assert {site.do(cmd, args[cmd])["code"] for cmd in args} == {"forbidden"}


def test_a_cancelled_upload_is_told_to_the_server_and_its_file_stays(site):
    recording = site.lane.record("a.mp4", os.urandom(8 * 2**20))
    other = site.lane.record("b.mp4", b"b")
    site.lane.bytes_per_s = 2**17
    site.lane.run(until=lambda: site.lane.transport.body_bytes > 0)
    upload_id = site.lane.now(recording).upload_id

    ack = site.do("cancel", {"file_id": recording.id})
    site.lane.run()

    assert ack["status"] == "done"
    now = site.lane.now(recording)
    assert (now.state, now.problem, now.upload_id) == (State.FAILED, FailureCode.CANCELLED, None)
    assert (site.lane.media / "a.mp4").exists()
    assert site.lane.now(other).state is State.VERIFIED
    assert list(site.lane.server.published) == ["b.mp4"]
    assert site.lane.server.uploads[upload_id].state == "aborted"
    assert [one["code"] for one in site.lane.events("file.failed")] == [FailureCode.CANCELLED]


def test_a_cancelled_one_is_not_tried_again_by_itself_but_on_a_word(site):
    recording = site.lane.record("a.mp4", b"x" * 1000)
    site.do("cancel", {"file_id": recording.id})

    assert retry_on_new_way(site.store, "another way") == 0
    assert site.do("retry", {"file_id": recording.id})["result"]["retried"] == 1

    assert site.lane.now(recording).state is State.SEEN


@pytest.mark.parametrize("state", ["again", "verified", "failed"])
def test_a_cancel_that_comes_late_or_twice_changes_nothing(site, state):
    recording = site.lane.record("a.mp4", b"x" * 1000)
    if state == "again":
        site.do("cancel", {"file_id": recording.id})
    elif state == "failed":
        site.store.advance(recording, Event.REJECTED, problem="too-large")
    else:
        site.lane.run()
    before = site.lane.now(recording)

    ack = site.do("cancel", {"file_id": recording.id})

    assert site.lane.now(recording) == before
    expected = ("failed", "too_late") if state == "verified" else ("done", "ok")
    assert (ack["status"], ack["code"]) == expected


def fill_log():
    for number in range(3):
        log_tail.keep(f'{{"event":"n{number}","error":"a-token-of-this-device"}}')


def test_the_log_goes_as_a_file_without_its_secrets_and_is_deleted_when_it_has_arrived(site):
    fill_log()
    (accepted,) = site.take(site.document("upload_log", {"lines": 2}, id="log-1"))
    assert accepted["status"] == "accepted"

    site.desk.step(site.clock.now_s())
    (on_its_way,) = site.tell()
    site.lane.run()
    site.desk.step(site.clock.now_s())
    (done,) = site.tell()

    assert on_its_way["status"] == "accepted"
    assert (done["status"], done["result"]["published_as"]) == ("done", "cam/agent-log-log-1.jsonl")
    sent = site.lane.server.published["agent-log-log-1.jsonl"]
    assert sent.splitlines() == [
        b'{"event":"n1","error":"[redacted]"}',
        b'{"event":"n2","error":"[redacted]"}',
    ]
    assert list((site.lane.base / LOGS).iterdir()) == []


def test_a_power_cut_in_the_middle_sends_one_log(site):
    fill_log()
    site.take(site.document("upload_log", {"lines": 2}, id="log-1"))
    site.desk.step(site.clock.now_s())

    restart(site)
    site.desk.step(site.clock.now_s())
    site.lane.run()
    site.desk.step(site.clock.now_s())

    assert [one["status"] for one in site.tell()][-1] == "done"
    assert list(site.lane.server.published) == ["agent-log-log-1.jsonl"]


def test_a_log_that_cannot_be_written_says_why(site):
    (site.lane.base / LOGS).write_text("in the way")

    site.take(site.document("upload_log", {"lines": 2}))
    site.desk.step(site.clock.now_s())

    (ack,) = site.tell()
    assert (ack["status"], ack["code"]) == ("failed", "disk")
    assert "cannot be written" in ack["message"]


def test_a_configuration_that_is_not_in_order_is_refused_with_its_faults(site):
    def refuse():
        raise ConfigError(["[watch] folder: is a file", "device_id: too long"])

    taken = site.do("reload")
    site.reload = refuse
    refused = site.do("reload")

    assert (refused["status"], refused["code"]) == ("failed", "config")
    assert "[watch] folder: is a file; device_id" in refused["message"]
    assert taken["status"] == "done"


def test_a_token_that_cannot_be_replaced_stays_good_and_the_answer_says_why(site):
    site.take(site.document("rotate_token"))

    site.desk.step(site.clock.now_s())

    (ack,) = site.tell()
    assert (ack["status"], ack["code"]) == ("failed", "failed")
    assert site.token_file.read_text() == "a-token-of-this-device\n"
