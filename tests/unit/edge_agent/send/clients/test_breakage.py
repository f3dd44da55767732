"""What a library says of a broken request, in words for a person."""

import time

import pytest

from edge_agent.send.clients.breakage import what_broke


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "wrong version number"),
        ("[Errno 111] Connection refused", "Connection refused"),
        ("[SSL] unknown error   (_ssl.c:99)", "unknown error"),
        ("plain words", "plain words"),
    ],
)
def test_the_codes_around_the_words_are_left_out(said, plain):
    error, somebody_was_there = what_broke(OSError(said))

    assert str(error) == f"OSError: {plain}"
    assert not somebody_was_there


def test_a_long_text_of_blanks_costs_no_more_than_its_length():
    began_s = time.perf_counter()

    what_broke(OSError("x" + "\t" * 100_000 + "!"))

    assert time.perf_counter() - began_s < 5  # with its square, a minute and more
