"""What systemd is told of the agent."""

import os
import socket

import pytest

from edge_host.systemd import Notifier


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(5)
        yield made


def notifier(manager: socket.socket, **more: str) -> Notifier:
    return Notifier.from_environ({"NOTIFY_SOCKET": manager.getsockname(), **more}, pid=7)


def test_systemd_is_told_each_change_once(manager):
    told = notifier(manager)

    told.status("idle")
    told.status("idle")
    told.ready()
    told.reloading(12.5)
    told.stopping()
    told.alive()

    assert [manager.recv(1000) for _ in range(5)] == [
        b"STATUS=idle",
        b"READY=1",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"STOPPING=1\nSTATUS=stopping",
        b"WATCHDOG=1",
    ]


def test_without_systemd_nothing_is_sent_and_a_dead_manager_is_no_error(manager, log_lines):
    Notifier().ready()
    told = notifier(manager)
    os.unlink(manager.getsockname())

    told.ready()

    assert [line["event"] for line in log_lines()] == ["systemd.notify_failed"]
