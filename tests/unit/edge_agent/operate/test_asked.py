"""`edge-agent now`, `rescan` and `pause --for`, where no agent runs: the next one goes by it."""

import os

import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.cli import main
from edge_agent.core.schedule import URGENT, URGENT_METERED
from edge_agent.core.upload import Event, State
from edge_agent.store.recordings import Store


class Device:
    def __init__(self, base, capsys):
        self.media, self.state = base / "media", base / "state"
        self.media.mkdir()
        self._capsys = capsys
        self.config = base / "agent.toml"
        self.config.write_text(
            f'device_id = "cam"\nstate_dir = "{self.state}"\n[watch]\nfolder = "{self.media}"\n'
            '[server]\nurl = "http://127.0.0.1:1"\n'
        )

    def run(self, *words):
        code = main([words[0], "--config", str(self.config), *map(str, words[1:])])
        return code, self._capsys.readouterr().out

    def recordings(self):
        with_store = Store.open(self.state / "agent.db", clock=SystemClock(), boot_id="b")
        try:
            return with_store.in_states(*State)
        finally:
            with_store.close()

    def record(self, name):
        path = self.media / name
        path.write_bytes(b"x")
        return path


@pytest.fixture
def device(tmp_path, capsys):
    return Device(tmp_path, capsys)


def test_a_file_that_is_named_goes_first_at_the_next_start(device):
    path = device.record("a.mp4")

    code, out = device.run("now", path)

    assert code == 0
    assert out == (
        f"{path}: it goes first, once nobody writes to it any more (the agent is not running now)\n"
    )
    assert [(one.name, one.priority) for one in device.recordings()] == [("a.mp4", URGENT)]


def test_one_that_is_known_may_be_named_by_its_id_and_go_over_a_metered_link(device):
    device.run("now", device.record("a.mp4"))
    (known,) = device.recordings()

    assert device.run("now", "--metered", known.id)[0] == 0

    assert [one.priority for one in device.recordings()] == [URGENT_METERED]


def test_each_that_cannot_be_says_why_and_the_others_go(device):
    path = device.record("a.mp4")

    code, out = device.run("now", device.media / "absent.mp4", "0" * 32, device.media, path)

    absent, unknown, folder, taken = out.splitlines()
    assert code == 1
    assert absent.endswith("absent.mp4: No such file or directory")
    assert unknown.startswith(f"{'0' * 32}: no such file is here, and no recording has")
    assert "it is a folder" in folder
    assert "it goes first" in taken


def test_a_name_that_is_no_text_does_nothing_on_the_terminal(device):
    path = os.fsdecode(os.fsencode(device.media) + b"/a\x1b[2J\xff.mp4")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))

    code, out = device.run("now", path)

    assert code == 0
    assert out.rstrip("\n").isprintable()


def test_what_keeps_the_next_start_from_sending_is_in_the_status_until_it_is_taken_back(device):
    device.run("now", device.record("a.mp4"))

    device.run("pause")
    device.run("hold", "--reason", "armed")
    ordered = device.run("status")[1]
    device.run("resume")
    device.run("release")

    assert (
        'the next start sends nothing: paused by a person; "edge-agent resume" goes on\n' in ordered
    )
    assert 'the next start sends nothing: "edge-agent hold" holds everything (armed)' in ordered
    assert "the next start sends nothing" not in device.run("status")[1]


def test_a_hold_file_is_in_the_status_as_long_as_it_lies_there(device, monkeypatch):
    device.run("now", device.record("a.mp4"))
    hold = device.state / "armed"
    monkeypatch.setenv("EDGE_AGENT_UPLOAD__HOLD_FILE", str(hold))
    before = device.run("status")[1]
    hold.touch()

    while_it_lies = device.run("status")[1]

    assert f"the next start sends nothing: the hold file {hold} holds everything" in while_it_lies
    assert "the next start sends nothing" not in before


def test_a_rescan_without_an_agent_is_what_its_start_does(device):
    assert device.run("rescan") == (0, "the next start looks through what is watched\n")


def test_a_pause_for_a_time_says_so_and_a_wrong_time_changes_nothing(device, capsys):
    assert device.run("pause", "--for", 600)[1].startswith("paused: nothing is sent for 600 s")
    device.run("resume")

    assert main(["pause", "--config", str(device.config), "--for", "0"]) == 1
    assert "for_s must be whole seconds, from 1" in capsys.readouterr().err

    store = Store.open(device.state / "agent.db", clock=SystemClock(), boot_id="b")
    assert store.orders.paused() is None
    store.close()


def test_what_failed_is_shown_alone_with_what_to_do(device):
    device.run("now", device.record("a.mp4"))
    store = Store.open(device.state / "agent.db", clock=SystemClock(), boot_id="b")
    (one,) = store.in_states(State.SEEN)
    store.advance(one, Event.REJECTED, problem="too-large", detail="10 GB at most")
    store.close()

    code, out = device.run("status", "--failed")

    assert code == 0
    assert out.splitlines()[1:3] == [
        "    too-large: 10 GB at most",
        f"    edge-agent retry {one.id}",
    ]


def test_what_a_recorder_has_finished_is_left_to_the_next_start(device):
    path = device.record("a.mp4")

    code, out = device.run("upload", "--finished", path)

    later = "no agent is running: the next start finds it in the watched folder"
    assert (code, out) == (0, f"{path}: {later}\n")
    assert not device.state.exists()


def test_a_finished_file_that_no_start_would_find_is_1_and_the_others_are_told_of(device, tmp_path):
    outside = tmp_path / "b.mp4"
    outside.write_bytes(b"x")

    code, out = device.run("upload", "--finished", outside, device.record("a.mp4"))

    assert code == 1
    assert out.splitlines() == [
        f"{outside}: it is not in the watched folder, {device.media}",
        f"{device.media}/a.mp4: no agent is running: the next start finds it in the watched folder",
    ]
