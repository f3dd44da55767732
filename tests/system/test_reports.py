"""A device without a broker is seen at the server and steered from there, by the programs as they are."""

import os
import signal
import time

import pytest

from tests.support.processes import DEVICE, Agent, wait_for
from tests.support.recordings import make_recording
from tests.support.site import site
from tests.support.steering import Operator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SOON = {"interval_seconds": 5.0}
"""The shortest that an owner can set: a test waits for it."""


def test_a_device_is_seen_and_steered_without_a_broker(tmp_path):
    with site(tmp_path, reports=SOON) as here:
        operator = Operator(here.server, here.agent.media)
        here.agent.start()
        wait_for(lambda: operator.row().get("presence") == "online", "the device is seen")

        paused = operator.command("pause", reason="flight")
        wait_for(lambda: operator.row().get("state") == "paused", "it is seen to be paused")
        make_recording(here.agent.media / "flight.mp4", seconds=0.5)
        wait_for(lambda: operator.row().get("pending_files") == 1, "what waits is seen")
        resumed = operator.command("resume")
        here.wait_until_published(1)
        wait_for(lambda: operator.row().get("last_completed_at"), "it is seen to be done")
        log = list(here.agent.log())

    assert (paused["status"], paused["code"]) == ("done", "ok")
    assert resumed["status"] == "done"
    assert [one for one in log if one.get("level") in ("warning", "error")] == []


def test_every_event_arrives_once_and_in_order_though_the_server_is_killed(tmp_path):
    with site(tmp_path, reports=SOON) as here:
        operator = Operator(here.server, here.agent.media)
        here.agent.start()
        for number in range(3):
            make_recording(here.agent.media / f"{number}.mp4", seconds=0.5)
            here.wait_until_published(number + 1)
            here.server.kill()
            here.server.start()
        wait_for(lambda: here.agent.state()["totals"]["files_done"] == 3, "all is verified")

        def completed():
            found = [one for one in operator.events() if one["type"] == "edgeup.file.completed"]
            return found if len(found) >= 3 else None

        wait_for(completed, "all three are told")
        events = operator.events()

    told = [one["event"] for one in events]
    seqs = [one["seq"] for one in told]
    assert seqs == sorted(set(seqs))
    assert len({one["id"] for one in told}) == len(told)
    assert "spool.dropped" not in {one["type"] for one in told}


def test_two_agents_with_one_id_are_both_told_and_no_more_once_one_has_gone(tmp_path):
    def problems(agent):
        return agent.state_if_any().get("problems") or []

    with site(tmp_path, reports=SOON) as here:
        url, token = f"http://127.0.0.1:{here.server.port}", here.agent.token
        copied = Agent(tmp_path / "copy", url=url, token=token, reports=SOON)
        here.agent.start()
        copied.start()
        both = (here.agent, copied)

        def say_so():
            for one in both:  # who has nothing new reports seldom
                (one.media / f"{time.monotonic_ns()}.mp4").write_bytes(os.urandom(1000))
            return all("duplicate_id" in problems(one) for one in both)

        try:
            wait_for(say_so, "both say so", 60, every_s=0.5)
        finally:
            copied.stop()
        here.agent.stop()
        here.agent.start()  # a run of its own, which nobody takes turns with
        wait_for(lambda: here.agent.state_if_any().get("state") == "idle", "it is up")
        wait_for(lambda: "duplicate_id" not in problems(here.agent), "it is alone")


@pytest.mark.nightly
def test_recordings_of_which_a_run_is_too_much_for_the_server_are_told_in_shorter_ones(tmp_path):
    with site(tmp_path, reports=SOON) as here:
        operator = Operator(here.server, here.agent.media)
        # Whoever counts the values of a run counts each of these commas.
        folder = here.agent.media.joinpath(*["," * 250] * 8)
        folder.mkdir(parents=True)
        here.agent.start()
        wait_for(here.agent.state_if_any, "it runs")
        here.agent.run("pause")
        for number in range(230):
            (folder / f"{number}.mp4").write_bytes(b"%d" % number)
        wait_for(lambda: here.agent.state()["queue"]["files"] == 230, "all is seen")
        here.agent.stop()
        here.agent.start()

        def told():
            page = operator.ask("GET", f"/devices/{DEVICE}/holds?limit=1000")[1]
            return len(page.get("holds", ())) == 230

        wait_for(told, "all that the device holds is told")
        log = list(here.agent.log())

    assert [one for one in log if one.get("level") in ("warning", "error")] == []


def test_a_device_whose_agent_is_stopped_is_offline_at_once_and_online_again_with_the_next(
    tmp_path,
):
    with site(tmp_path) as here:
        operator = Operator(here.server, here.agent.media)
        here.agent.start()
        wait_for(lambda: operator.row().get("presence") == "online", "the device is seen")

        assert here.agent.stop() == 0
        stopped = operator.row()
        here.agent.start()
        wait_for(lambda: operator.row().get("presence") == "online", "it is back")

    assert (stopped["presence"], stopped["next_by"]) == ("offline", None)


def test_an_agent_ends_as_ever_where_the_server_takes_its_last_report_and_answers_nothing(tmp_path):
    with site(tmp_path) as here:
        operator = Operator(here.server, here.agent.media)
        here.agent.start()
        wait_for(lambda: operator.row().get("presence") == "online", "the device is seen")
        os.kill(here.server.pid, signal.SIGSTOP)
        try:
            code = here.agent.stop()
        finally:
            os.kill(here.server.pid, signal.SIGCONT)
        errors = [one for one in here.agent.log() if one.get("level") == "error"]

    assert (code, errors) == (0, [])
