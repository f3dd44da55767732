import socket
import subprocess
import sys
import threading

import pytest

from edge_host.systemd import Notifier, passed_sockets, watch


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


@pytest.fixture
def notifier(manager):
    return Notifier(manager.getsockname(), watchdog_s=0.03)


def test_readiness_is_told_with_a_status(manager, notifier):
    notifier.ready("listening on 127.0.0.1:8080")

    assert manager.recv(1000) == b"READY=1\nSTATUS=listening on 127.0.0.1:8080"


def test_a_reload_is_told_with_the_monotonic_time(manager, notifier):
    notifier.reloading(12.5)

    assert manager.recv(1000) == b"RELOADING=1\nMONOTONIC_USEC=12500000"


def test_a_status_cannot_smuggle_another_line(manager, notifier):
    notifier.status("a\nMAINPID=1")

    assert manager.recv(1000) == b"STATUS=a MAINPID=1"


def test_an_abstract_socket_is_reached():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("")  # the kernel picks an abstract name
        listener.settimeout(5)
        name = listener.getsockname()

        Notifier("@" + name[1:].decode()).stopping()

        assert listener.recv(1000).startswith(b"STOPPING=1")


def test_outside_of_systemd_nothing_happens():
    Notifier.from_environ({}, pid=1).ready("x")


def test_a_manager_that_went_away_is_no_reason_to_fail(tmp_path):
    Notifier(str(tmp_path / "gone")).ready("x")


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
    ],
)
def test_the_watchdog_is_ours_only_where_systemd_says_so(environ, watchdog_s):
    assert Notifier.from_environ(environ, pid=7).watchdog_s == watchdog_s


def test_the_watchdog_is_fed_while_the_work_gets_done_and_no_longer(manager, notifier):
    stopped = threading.Event()
    answers = iter([True, True, False])

    def is_alive() -> bool:
        answer = next(answers)
        if not answer:
            stopped.set()
        return answer

    watch(notifier, is_alive, stopped)

    manager.setblocking(False)
    assert [manager.recv(100), manager.recv(100)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        manager.recv(100)


def test_without_a_watchdog_nobody_is_asked():
    def is_alive() -> bool:
        raise AssertionError

    watch(Notifier("@x"), is_alive, threading.Event())


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "7", "LISTEN_FDS": "x"}],
)
def test_no_socket_is_taken_that_systemd_has_not_opened_for_this_process(environ):
    assert passed_sockets(environ, pid=7) == []


_AS_SYSTEMD = """
import os, socket, sys
from edge_host.systemd import passed_sockets
made = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        socket.socketpair()[0], socket.socket(socket.AF_INET)]
for number, one in enumerate((made[0], made[1], made[3])):
    one.bind(("127.0.0.1", 0) if one.family == socket.AF_INET else os.path.join(sys.argv[1], str(number)))
made[0].listen()
made[3].listen()
kept = [os.dup(one.fileno()) for one in made]  # above those that are passed
for number, fd in enumerate(kept):
    os.dup2(fd, 3 + number)
found = passed_sockets({"LISTEN_PID": "7", "LISTEN_FDS": "4"}, pid=7)
print("".join(f"taken {one.fileno()}" for one in found))
os._exit(0)
"""


def test_of_what_systemd_hands_over_only_a_local_socket_that_listens_is_taken(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _AS_SYSTEMD, tmp_path],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "taken 3"
    assert done.stdout.count("nobody can connect to it") == 2
    assert done.stdout.count("it is open to the network") == 1
