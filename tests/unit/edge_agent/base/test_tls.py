"""The agent's side of TLS: whose certificate, and what a wrong clock does to it."""

import itertools
import shutil
import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from edge_agent.base.errors import ClockError, UnauthorizedError
from edge_agent.base.reasons import Reason
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.native import NativeClient
from ingest_server.front.tls import TlsFiles as ServerFiles
from ingest_server.front.tls import server_context
from tests.support.certificates import Authority, not_yet_valid
from tests.support.lane import scene
from tests.support.present import present

PROBE = b'{"protocols":[1],"nonce":"n","now":"2026-11-21T00:00:00Z","limits":{},"device":null}'
NOT_YET = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@contextmanager
def serving(context):
    """Answer each connection once; yield the port and the names of the clients' certificates."""
    names = []

    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def run():
            while not is_over.is_set():
                raw, _ = listener.accept()
                raw.settimeout(5)
                try:
                    with context.wrap_socket(raw, server_side=True) as connection:
                        connection.recv(65536)
                        names.append((connection.getpeercert() or {}).get("subject"))
                        connection.sendall(
                            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                            % (len(PROBE), PROBE)
                        )

                except OSError:
                    raw.close()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()[1], names
        finally:
            is_over.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join(10)


def client(port, *, watch=None, **files):
    return NativeClient(
        Endpoint(url=f"https://127.0.0.1:{port}", idle_timeout_s=5.0, **files),
        token=lambda: None,
        utc=lambda: datetime(2026, 11, 21, tzinfo=UTC),
        watch=watch,
    )


def asking_for_certificates(authority):
    pair = authority.server()
    context = server_context(ServerFiles(pair.cert, pair.key, authority.cert))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def put(source, target):
    """Replace *target* as a renewal does."""
    fresh = target.with_suffix(".new")
    shutil.copyfile(source, fresh)
    fresh.replace(target)


def test_a_renewed_certificate_is_shown_from_the_next_request_on(tmp_path, authority):
    old, new = authority.device("old"), authority.device("new")
    cert, key = tmp_path / "device.crt", tmp_path / "device.key"
    put(old.cert, cert), put(old.key, key)

    with (
        serving(asking_for_certificates(authority)) as (port, names),
        client(
            port, ca_file=authority.cert, client_cert_file=cert, client_key_file=key
        ) as transport,
    ):
        before = transport.credential()
        transport.probe("n")
        put(new.cert, cert)
        assert transport.credential() != before  # what ends a wait for a login
        transport.probe("n")  # half renewed: the old pair still does
        put(new.key, key)
        transport.probe("n")

    assert [name[0][0][1] for name in names] == ["old", "old", "new"]


def test_a_device_without_the_certificate_that_is_asked_for_waits_for_a_login(authority):
    with (
        serving(asking_for_certificates(authority)) as (port, _),
        client(port, ca_file=authority.cert) as transport,
        pytest.raises(UnauthorizedError, match="client_cert_file"),
    ):
        transport.probe("n")


def test_a_certificate_that_is_not_yet_valid_is_a_matter_of_the_clock(tmp_path, authority):
    pair = not_yet_valid(tmp_path, authority)
    told = []

    class Watch:
        def begin(self, line):
            del line

        def end(self, line, *, was_answered):
            del line
            told.append(was_answered)

    context = server_context(ServerFiles(*pair))
    with (
        serving(context) as (port, _),
        client(port, ca_file=authority.cert, watch=Watch()) as transport,
        pytest.raises(ClockError, match="timedatectl"),
    ):
        transport.probe("n")

    assert told == [True]  # somebody is there: no reason to knock each second


def test_L5_L6_a_clock_in_1970_is_the_reason_and_setting_it_ends_the_wait_at_once(
    tmp_path, monkeypatch
):
    with scene(tmp_path) as stage:
        certificate_is_good = False
        handed_on = stage.link.handle_request

        def refuse(request):
            if not certificate_is_good:
                raise httpx.ConnectError(NOT_YET, request=request)
            return handed_on(request)

        monkeypatch.setattr(stage.link, "handle_request", refuse)
        recording = stage.lane.record("a.mp4", b"x" * 1000)
        for _ in range(20):
            stage.lane.step()
        wait = present(stage.lane.activity.blocked_by)

        stage.clock.set_wall_forward(years=56)
        certificate_is_good = True
        began_s = stage.clock.now_s()
        stage.lane.run()

        assert wait.reason is Reason.CLOCK
        assert "timedatectl" in wait.detail
        assert "by the clock of this device: either that is behind" in wait.detail
        assert "or the clock where the certificate was made is ahead" in wait.detail
        assert set(stage.lane.reasons) == {Reason.CLOCK}
        assert stage.lane.now(recording).state == "verified"
        assert stage.clock.now_s() - began_s < 5


def test_L6_a_clock_that_nobody_sets_is_asked_about_again_all_the_same(tmp_path, monkeypatch):
    with scene(tmp_path) as stage:
        faults = itertools.count()
        handed_on = stage.link.handle_request

        def refuse(request):
            if next(faults) < 3:
                raise httpx.ConnectError(NOT_YET, request=request)
            return handed_on(request)

        monkeypatch.setattr(stage.link, "handle_request", refuse)
        recording = stage.lane.record("a.mp4", b"x")

        stage.lane.run()

        assert stage.lane.now(recording).state == "verified"
