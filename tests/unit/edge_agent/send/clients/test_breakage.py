"""What a library says of a broken request, in words for a person."""

import time

import httpx
import pytest

from edge_agent.send.clients.breakage import what_broke


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("[SSL: NO_CIPHERS] no ciphers available (_ssl.c:1006)", "no ciphers available"),
        ("[Errno 111] Connection refused", "Connection refused"),
        ("[SSL] unknown error   (_ssl.c:99)", "unknown error"),
        ("plain words", "plain words"),
    ],
)
def test_the_codes_around_the_words_are_left_out(said, plain):
    error, somebody_was_there = what_broke(OSError(said))

    assert str(error) == f"OSError: {plain}"
    assert not somebody_was_there


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "does not speak TLS"),
        ("Receive buffer too long", "longer than any of an ingest server"),
    ],
)
def test_what_a_library_says_for_itself_is_said_for_a_person(said, plain):
    error, somebody_was_there = what_broke(OSError(said))

    assert plain in str(error)
    assert "OSError" not in str(error)
    assert said not in str(error)
    assert not somebody_was_there


@pytest.mark.parametrize(
    ("error", "plain"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "no connection: Connection refused"),
        (httpx.ReadTimeout("timed out"), "no answer in time: timed out"),
        (
            httpx.RemoteProtocolError("Server disconnected without sending a response."),
            "the connection ended before an answer came",
        ),
        (httpx.ReadError(""), "the connection broke"),
    ],
)
def test_a_broken_request_is_named_in_words_and_not_by_its_class(error, plain):
    assert str(what_broke(error)[0]) == plain


def test_a_long_text_of_blanks_costs_no_more_than_its_length():
    began_s = time.perf_counter()

    what_broke(OSError("x" + "\t" * 100_000 + "!"))

    assert time.perf_counter() - began_s < 5  # with its square, a minute and more
