"""What keeps a device from sending over any link: its power, a hold file, a command."""

import os
import signal

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import make_recording
from tests.support.requirements import require_root
from tests.support.site import Broker, Listener, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Power:
    """The power supplies that one agent sees, in a mount namespace of its own."""

    def __init__(self, folder):
        require_root()
        self.folder = folder / "class"
        self.supplies = self.folder / "power_supply"
        self.supplies.mkdir(parents=True)

    def under(self, agent):
        """Let *agent* see them."""
        script = 'mount --bind "$0" /sys/class && exec "$@"'
        agent.command = ["unshare", "-m", "sh", "-c", script, self.folder, *agent.command]

    def put(self, name, **files):
        (self.supplies / name).mkdir(exist_ok=True)
        for file, text in files.items():
            (self.supplies / name / file).write_text(f"{text}\n")


def reload(agent, **tables):
    agent.configure(**tables)
    os.kill(agent.pid, signal.SIGHUP)


def test_a_low_battery_holds_what_waits_and_a_person_sends_one_all_the_same(tmp_path):
    power = Power(tmp_path)
    power.put("BAT0", type="Battery", status="Discharging", capacity=12)
    with site(tmp_path, power={"min_percent": 20}) as here:
        power.under(here.agent)
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        make_recording(here.agent.media / "b.mp4", seconds=0.5)
        here.agent.start()
        state = here.agent.wait_until_blocked_by("power")
        page = here.agent.run("status")
        here.agent.run("now", str(here.agent.media / "a.mp4"))
        here.wait_until_published(1)
        reload(here.agent, power={"min_percent": 10})
        here.wait_until_published(2)

    sentence = (
        "the battery has 12 %, and [power] min_percent is 20: sending goes on at 25 %, or on mains"
    )
    assert (state["state"], state["blocked_detail"]) == ("waiting_window", sentence)
    assert sentence in " ".join(page.split())


@pytest.mark.nightly
def test_supplies_that_say_nothing_hold_nothing_up_and_are_named(tmp_path):
    power = Power(tmp_path)
    power.put("BAT0", type="Battery", status="?", capacity=255)
    with site(tmp_path, power={"mains_only": True, "min_percent": 20}) as here:
        power.under(here.agent)
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        here.agent.start()
        here.wait_until_published(1)
        state = here.agent.state()

    assert "rule_unknown" in state["problems"]
    assert [one.split(":")[0] for one in state["notes"]] == [
        "[power] mains_only",
        "[power] min_percent",
    ]


def test_while_the_hold_file_is_there_nothing_is_sent_and_one_left_behind_is_named(tmp_path):
    armed = tmp_path / "run" / "armed"
    broker = Broker(tmp_path / "broker")
    try:
        broker.start()
        tables = {"upload": {"hold_file": armed}, "mqtt": {"url": broker.url}}
        with site(tmp_path, **tables) as here, Listener(broker) as heard:
            armed.parent.mkdir()
            armed.write_text("4194304\n")
            make_recording(here.agent.media / "a.mp4", seconds=0.5)
            here.agent.start()
            state = here.agent.wait_until_blocked_by("hold")
            said = here.agent.run("now", str(here.agent.media / "a.mp4"))
            wait_for(
                lambda: [one for one in heard.documents("state") if one["blocked_by"] == "hold"],
                "the broker is told",
            )
            before = here.server.published_files()
            armed.unlink()
            here.wait_until_published(1)
            wait_for(lambda: here.agent.state()["notes"] == [], "nothing is left to say")
    finally:
        broker.close()

    assert state["blocked_detail"].startswith(f"the hold file {armed} holds everything")
    assert state["blocked_detail"].endswith(", until it is removed")
    assert "hold_stale" in state["problems"]
    assert "no process 4194304, which made it, is there" in state["notes"][0]
    assert "it goes first" in said
    assert before == []


@pytest.mark.nightly
def test_a_command_holds_across_a_kill_until_it_is_released_or_its_time_is_over(tmp_path):
    with site(tmp_path) as here:
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        told = here.agent.run("hold", "--reason", "armed")
        here.agent.start()
        state = here.agent.wait_until_blocked_by("hold")
        here.agent.kill()
        here.agent.start()
        here.agent.wait_until_blocked_by("hold")
        again = here.agent.run("hold", "--for", "10m", "--pid", "4194304")
        stale = wait_for(lambda: here.agent.state_if_any().get("notes"), "it is named")
        before = here.server.published_files()
        released = here.agent.run("release")
        here.wait_until_published(1)
        make_recording(here.agent.media / "b.mp4", seconds=0.5)
        here.agent.run("hold", "--for", "3s")
        here.wait_until_published(2)

    assert (
        told == 'held: nothing is sent until "edge-agent release" (the agent is not running now)\n'
    )
    assert state["blocked_detail"].startswith('"edge-agent hold" holds everything (armed)')
    assert state["blocked_detail"].endswith(', until "edge-agent release"')
    assert again == "held: nothing is sent for 600 s\n"
    assert "no process 4194304, which made it, is there" in stale[0]
    assert before == []
    assert released == "released: sending goes on\n"
