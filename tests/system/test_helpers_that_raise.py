"""What only helps the agent raises what nobody expects at each of its calls: a recording arrives all the same."""

import sys
from typing import Any

import pytest

from demo.ports import free_port
from tests.support.processes import wait_for
from tests.support.recordings import make_recording, sha256
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SEAMS = {
    "hints": "watchdog.observers.inotify:InotifyObserver.start",
    "a hint": "edge_agent.media.hints:_Handler.on_any_event",
    "the kernel's list of watches": "edge_agent.media.root_check:watched_inodes",
    "news of the link": "edge_agent.net.rtnetlink:LinkNews.__init__",
    "where news come in": "edge_agent.net.rtnetlink:LinkNews.fileno",
    "TCP_INFO": "edge_agent.net.tcp_info:_read",
    "the name of the congestion control": "edge_agent.net.tcp_info:_congestion_control",
    "options of a socket": "edge_agent.net.socket_options:_tried",
    "leases": "edge_agent.media.lease:_take",
    "systemd": "edge_host.systemd:socket",
    "MQTT": "edge_host.mqtt_session:SessionClient.connect",
    "the library of MQTT": "edge_host.mqtt_session:SessionClient.__init__",
    "names that are known": "edge_agent.net.resolver:Resolver.known",
    "whether a link is metered": "edge_agent.net.network_manager:_ask",
    "the kernel's word on the clock": "edge_agent.base.clock:is_believed_by_kernel",
    "the route": "edge_agent.net.route:_ask",
    "what knocks": "edge_agent.net.knock:Knock.start_over",
    "facts of a recording": "edge_agent.media.facts:ReadWindow.at",
    "the disk's space": "edge_agent.media.disk_space:DiskSpace._ask",
    "memory": "edge_agent.memory:_malloc_trim",
    "the state document": "edge_agent.report.state_document:StateDocuments.__call__",
    "reports to the server": "edge_agent.report.server.reports:ServerReports.step",
    "the reporter": "edge_agent.report.broker.reporter:Reporter.step",
    "the status line": "edge_agent.rounds:status_line",
}

ENDED_IT = {"news of the link", "options of a socket", "systemd", "the route"}
"""These have ended an agent before: they are tried each time."""


@pytest.mark.parametrize(
    "seam",
    [
        pytest.param(seam, id=what, marks=() if what in ENDED_IT else pytest.mark.nightly)
        for what, seam in SEAMS.items()
    ],
)
def test_a_recording_arrives_whatever_only_helps_raises(seam, tmp_path):
    raised = tmp_path / "raised"
    tables: dict[str, Any] = {
        "mqtt": {"url": f"mqtt://127.0.0.1:{free_port()}"},
        "watch": {"fallback_settle_seconds": 2.0},
        "link": [{"match": "*", "metered": "auto"}],
    }
    with site(tmp_path, **tables) as here:
        program = [sys.executable, "-m", "tests.support.failing_helper", seam, raised]
        notify = ["env", "NOTIFY_SOCKET=/nowhere", "WATCHDOG_USEC=3000000"]
        here.agent.command = [*notify, *program, "run", "--config", here.agent.config]
        here.agent.start()
        wait_for((here.agent.state_dir / "control.sock").exists, "it runs", 60.0)
        recording = make_recording(here.agent.media / "flight.mp4", seconds=0.5)

        here.wait_until_published(1)
        wait_for(raised.exists, "it has raised")

        assert here.published_digests() == {"flight.mp4": sha256(recording)}
        assert here.agent.stop() == 0
