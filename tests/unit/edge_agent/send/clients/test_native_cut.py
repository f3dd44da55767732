"""A request that hangs is broken off, and the next one goes over a new connection."""

import threading
from datetime import UTC, datetime

import pytest

from edge_agent.base.errors import LinkBackError, LinkDownError
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.native import NativeClient
from tests.support.stalling_server import stalling_server
from upload_protocol.messages import CreateRequest
from upload_protocol.ranges import ByteRange

ID = "0" * 32


class Heard:
    def __init__(self):
        self.begun = 0
        self.outcomes = []

    def begin(self, line):
        self.begun += 1

    def end(self, line, *, was_answered):
        self.outcomes.append(was_answered)


def transport(url, watch):
    return NativeClient(
        Endpoint(url=url),
        token=lambda: None,
        utc=lambda: datetime(2026, 11, 21, tzinfo=UTC),
        watch=watch,
    )


def test_a_request_that_is_cut_asks_for_another_try_at_once():
    heard = Heard()
    with stalling_server() as server, transport(server.url, heard) as client:

        def cut():
            server.is_stalling.wait(20)
            client.cut()

        threading.Thread(target=cut).start()
        with pytest.raises(LinkBackError):
            client.send(ID, ByteRange(0, 3), 3, iter([b"abc"]))
        client.create(CreateRequest("a.mp4", length=3), "k" * 32)

    assert heard.outcomes == [None, True]
    assert heard.begun == 2


def test_a_request_that_nobody_answers_is_told_as_broken():
    heard = Heard()
    with transport("http://127.0.0.1:1", heard) as client, pytest.raises(LinkDownError):
        client.status(ID)

    assert heard.outcomes == [False]
