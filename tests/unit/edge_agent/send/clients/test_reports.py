"""What carries reports counts what they cost, to the byte, TLS included."""

import ssl
from datetime import UTC, datetime
from typing import cast

import pytest

from edge_agent.base.errors import AbortedError, LinkDownError
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.reports import ReportsClient
from tests.support.certificates import Authority
from tests.support.report_server import ReportServer
from tests.support.tap import Tap

REPORT = b'{"v":1,"boot_id":"b","run_id":"r","seq":1,"next_s":30,"clock":"synced"}'


def client(url, **more):
    return ReportsClient(
        Endpoint(url=url, kept_s=290.0, **more), token=lambda: "t", utc=lambda: datetime.now(UTC)
    )


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca")


def test_what_is_counted_is_what_went_over_the_wire(authority):
    pair = authority.server()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    with ReportServer(tls=tls) as server, Tap(server.port) as tap:
        one = client(f"https://127.0.0.1:{tap.port}", ca_file=authority.cert)
        counted = []
        for _ in range(3):
            assert one.report(REPORT).through == 0
            counted.append((one.used_bytes, tap.bytes))
        one.rest()
        one.report(REPORT)
        one.close()

    # The kernel counts the opening packet of each connection as a byte.
    assert all(0 <= ours - theirs <= 2 for ours, theirs in counted)
    first, second, third = (ours for ours, _ in counted)
    assert second - first == third - second < 800
    assert server.connections == 2


def test_the_answer_is_read_as_it_is_to_be_decided_on():
    with ReportServer() as server:
        server.commands = [{"v": 1, "id": "\u00e9\ud800", "cmd": "pause"}]
        server.desired = {"v": 1, "version": 3}
        server.want = cast("list[str]", ["state", 7])
        one = client(server.url)
        answer = one.report(REPORT)
        one.close()

    assert answer.commands == (b'{"v":1,"id":"\xc3\xa9\\ud800","cmd":"pause"}',)
    assert answer.desired == b'{"v":1,"version":3}'
    assert answer.want == {"state"}
    assert answer.now == datetime(2026, 11, 29, 2, 26, 55, tzinfo=UTC)


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_that_takes_no_reports_is_no_fault(status):
    with ReportServer() as server:
        server.status = status
        one = client(server.url)
        assert one.report(REPORT) is None
        one.close()


def test_nobody_there_costs_a_guess_and_raises():
    with ReportServer() as server:
        url = server.url
    one = client(url)

    with pytest.raises(LinkDownError):
        one.report(REPORT)

    assert one.used_bytes == len(REPORT) + 2048
    one.close()


def test_an_aborted_client_sends_nothing():
    with ReportServer() as server:
        one = client(server.url)
        one.abort()
        with pytest.raises(AbortedError):
            one.report(REPORT)
        one.close()

    assert server.reports == []
