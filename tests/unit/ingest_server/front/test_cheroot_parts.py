"""What we use of cheroot without its promise: an upgrade that takes one of it away fails here first."""

import ast
import inspect
import socket
import threading
import time
from types import SimpleNamespace

import pytest
from cheroot import connections, wsgi
from cheroot import server as cheroot_server

from ingest_server.front import cheroot_parts, connection, http_server, request
from ingest_server.front.head_reader import HeadReader
from ingest_server.front.held import HeldAnswers
from tests.support.processes import wait_for

OF_CONNECTIONS = {"_expire", "_from_server_socket", "_remove_invalid_sockets", "_run"}
OF_A_MANAGER = {"_selector", "_stop_requested"}
OF_A_SERVER = {"_connections"}
OF_A_SELECTOR = {"close", "connections", "register", "select", "unregister"}


@pytest.fixture
def server():
    made = wsgi.Server(("127.0.0.1", 0), lambda _environ, _start: [])
    made.prepare()
    yield made
    made.stop()


def private_names(module) -> set[str]:
    found = ast.walk(ast.parse(inspect.getsource(module)))
    return {one.attr for one in found if isinstance(one, ast.Attribute) and _is_private(one.attr)}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def test_the_list_names_each_private_name_that_is_used():
    overridden = OF_CONNECTIONS & vars(cheroot_parts.ParkedConnections).keys()

    assert overridden == {"_expire", "_run"}
    assert private_names(cheroot_parts) | overridden == OF_CONNECTIONS | OF_A_MANAGER | OF_A_SERVER


def test_cheroot_has_each_of_them(server):
    manager = server._connections

    assert vars(connections.ConnectionManager).keys() >= OF_CONNECTIONS
    assert vars(manager).keys() >= OF_A_MANAGER
    assert set(dir(manager._selector)) >= OF_A_SELECTOR
    assert inspect.signature(manager._run).parameters.keys() == {"expiration_interval"}
    assert inspect.signature(manager._expire).parameters.keys() == {"threshold"}
    assert inspect.signature(manager._from_server_socket).parameters.keys() == {"server_socket"}
    assert cheroot_parts.ACCEPT_FAILED in inspect.getsource(cheroot_server.HTTPServer.serve)


@pytest.mark.parametrize(
    ("ours", "module"),
    [
        (request.HttpRequest, request),
        (connection.HttpConnection, connection),
        (http_server.UploadServer, http_server),
    ],
)
def test_no_private_name_of_ours_is_one_of_cheroot_s(ours, module, server):
    kind = ours.__mro__[2] if ours is http_server.UploadServer else ours.__base__
    theirs = set(dir(kind)) | set(vars(server) if kind is wsgi.Server else ())

    assert kind.__module__.startswith("cheroot")
    assert {name for name in theirs if _is_private(name)} & private_names(module) == set()


def test_a_connection_that_comes_to_be_parked_behind_a_stop_is_no_fault_of_its_thread(server):
    class Idle:
        has_work = False
        awaits_reader = False

        def __init__(self, one: socket.socket) -> None:
            self.socket, self.rfile = one, HeadReader(one)

    server.now_s = time.monotonic
    server.park_connections = cheroot_parts.Server.park_connections.__get__(server)
    server.park_connections()
    parked = server._connections
    parked.close()

    here, there = socket.socketpair()
    with here, there:
        parked.put(Idle(here))

        assert here.fileno() >= 0, "whoever stops closes it"


def test_a_stop_is_noticed_at_once_and_not_with_the_next_look(server):
    server.now_s = time.monotonic
    cheroot_parts.Server.park_connections(server)
    server.held = HeldAnswers(0.0, lambda _: None, time.monotonic)
    server.queues = SimpleNamespace(look=bool)
    failed: list[str] = []
    server.error_log = lambda message, *_, **__: failed.append(message)
    server.expiration_interval = 3600
    serving = threading.Thread(target=server.serve, daemon=True)
    serving.start()
    wait_for(lambda: not server._connections.at_rest.is_set(), "it serves", every_s=0.001)

    server.stop()

    serving.join()
    assert server._connections.at_rest.is_set()
    assert failed == []
