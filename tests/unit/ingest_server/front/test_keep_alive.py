"""How long a connection that sends nothing is kept."""

import pytest

from tests.support.raw_http import Peer, serving


def app(_environ, start_response):
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]


@pytest.mark.slow
def test_an_idle_connection_is_kept_for_as_long_as_the_setting_says():
    ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with (
        serving(app, keep_alive_s=0.5) as brief,
        serving(app, keep_alive_s=60) as long,
        Peer(brief.address) as ends,
        Peer(long.address) as stays,
    ):
        for peer in (ends, stays):
            peer.send(ask)
            peer.answer()

        assert ends.is_closed_by_server()
        stays.send(ask)
        assert stays.answer().status == 200


def test_a_connection_that_a_stop_and_its_own_thread_close_is_closed_once():
    with serving(app) as server, Peer(server.address) as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        peer.answer()
        [conn] = server.roster.open()

        conn.close()
        conn.close()

        assert peer.is_closed_by_server()
