"""A list of a dialect is made as it is read, and sent in pieces of a sensible size."""

import json
from collections.abc import Iterator
from typing import cast

import falcon
import pytest

from ingest_server.protocols.compat.answers import PIECE_BYTES, say_each


@pytest.mark.parametrize("count", [0, 1, 3, 5000])
def test_its_pieces_are_one_array_of_all(count):
    documents = [{"number": number, "name": "é" * 10} for number in range(count)]
    resp = falcon.Response()

    say_each(resp, iter(documents))
    pieces = list(cast("Iterator[bytes]", resp.stream))

    assert json.loads(b"".join(pieces)) == documents
    assert all(PIECE_BYTES <= len(one) < PIECE_BYTES + 200 for one in pieces[:-1])


def test_no_more_is_made_than_was_asked_for():
    made = []

    def documents():
        for number in range(10**9):
            made.append(number)
            yield {"number": number}

    resp = falcon.Response()
    say_each(resp, documents())
    next(cast("Iterator[bytes]", resp.stream))

    assert len(made) < PIECE_BYTES
