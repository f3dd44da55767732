"""Whatever a program says to the agent's control socket gets a sentence, and the right one."""

import json
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.base.settings import AgentSettings, ServerSettings, WatchSettings
from edge_agent.operate.command_handlers import RecordingHandlers, SendingHandlers
from edge_agent.operate.commands import Commands
from edge_agent.operate.control_socket import ControlServer
from edge_agent.operate.fetch_handler import FetchHandler
from edge_agent.operate.guarded_handlers import GuardedHandlers
from edge_agent.report.state_document import StateDocuments
from tests.support.examples import examples
from tests.support.lane import scene

DOINGS = [
    *("status", "upload", "finished", "now", "retry", "check", "pause", "resume", "set_bandwidth"),
    *("retry_failed", "rescan", "upload_now", "set_priority", "fetch", "cancel", "report"),
    *("upload_log", "reload", "rotate_token", "set", "desired"),
]
KEYS = [
    *(
        "paths",
        "ids",
        "now",
        "metered",
        "for_s",
        "reason",
        "file_id",
        "bytes_per_s",
        "value",
        "limit",
    ),
    *("priority", "match", "pattern", "names", "watch", "until", "max_rate", "lines", "seconds"),
]
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["/", "/etc/passwd", "/x\0", "/\ud800", "../..", "a" * 5000, "*", "[", "\x1b[2J"]
    ),
)
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
requests = st.one_of(
    st.binary(max_size=60),
    st.fixed_dictionaries(
        {"do": st.sampled_from(DOINGS) | atoms}, optional=dict.fromkeys(KEYS, values)
    ).map(lambda one: json.dumps(one).encode()),
    st.sampled_from(
        [b"", b"\n", b"[" * 100_000, b'{"do": ' + b"1" * 5000 + b"}", b"\xff\xfe", b"NaN"]
    ),
)

NOBODY = 65534


class Desk:
    """The control socket of a device, without its thread."""

    def __init__(self, base: Path, stage) -> None:
        lane = stage.lane
        folders = lane.folders()
        settings_ = AgentSettings(
            device_id="cam",
            state_dir=base,
            watch=[WatchSettings(folder=lane.media)],
            server=ServerSettings(url="http://127.0.0.1"),
        )
        recordings = RecordingHandlers(lane.store, lane.sender, wake_watcher=lambda: None)
        guarded = GuardedHandlers(
            settings_,
            lane.store,
            lane.sender,
            recordings,
            clock=stage.clock,
            folders=folders,
            wake_watcher=lambda: None,
            reload=lambda: None,
        )
        sending = SendingHandlers(
            lane.store, lane.sender, wake_watcher=lambda: None, announce=lambda: None
        )
        fetching = FetchHandler(lane.store, lane.activity, lane.sender, wake_watcher=lambda: None)
        commands = Commands(
            lane.store,
            lane.activity,
            StateDocuments(lane.store, lane.activity, stage.clock, boot_id="boot", folders=folders),
            folders=folders,
            wake_watcher=lambda: None,
            handlers={
                **sending.handlers(),
                **recordings.handlers(),
                **fetching.handlers(),
                **guarded.handlers(),
            },
        )
        self.server = ControlServer(base / "control.sock", commands)
        self.server._stopping.set()  # who follows gets one line

    def says(self, request: bytes) -> list[Any]:
        """Return the answers to *request*."""
        here, there = socket.socketpair()
        with here:
            asking = threading.Thread(target=_say, args=(here, request))
            asking.start()
            assert self.server._take_place(NOBODY) is None
            self.server._serve(there, NOBODY)
            asking.join()
            with here.makefile("rb") as lines:
                return [json.loads(one) for one in lines]


def _say(client: socket.socket, request: bytes) -> None:
    client.sendall(request)
    client.shutdown(socket.SHUT_WR)


def is_json(request: bytes) -> bool:
    try:
        json.loads(request)
    except (ValueError, RecursionError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_each_request_gets_a_sentence_and_holds_up_nobody():
    with tempfile.TemporaryDirectory() as folder, scene(Path(folder)) as stage:
        desk = Desk(Path(folder), stage)
        stage.lane.record("a.mp4", os.urandom(100))

        @settings(
            max_examples=examples(150),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(requests)
        def play(request):
            answers = desk.says(request)

            assert answers, "not a word"
            refused = [one["error"] for one in answers if isinstance(one, dict) and "error" in one]
            assert all(isinstance(one, str) and one for one in refused)
            assert all(len(one) < 2000 and one.isprintable() for one in refused), refused
            if "the request is no JSON" in refused:
                assert not is_json(request), "it is"

        play()
        assert (stage.lane.media / "a.mp4").exists()
        [status] = desk.says(b'{"do": "status"}\n')
        assert status["state"]["queue"]["files"] >= 1
