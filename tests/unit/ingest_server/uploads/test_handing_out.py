"""The bytes of one published recording, piece by piece."""

import pytest

from ingest_server.uploads import pieces
from ingest_server.uploads.handing_out import HandingOut
from tests.support.core_site import on_all_stores

DATA = bytes(range(256)) * 4


@pytest.fixture
def recording(site):
    uploads = site.receiver
    shelf = HandingOut(site.store, uploads.standings, uploads.long_work, lambda: 30.0)
    found = shelf.open(site.upload(DATA))
    yield found
    found.close()


def nothing_against_it() -> None:
    """Whoever reads may have more."""


@on_all_stores
@pytest.mark.parametrize(
    ("start", "stop", "lengths"),
    [(0, 1024, [100] * 10 + [24]), (0, 100, [100]), (99, 101, [2]), (7, 7, [])],
)
def test_a_range_comes_whole_in_pieces_and_ends_there(
    site, recording, monkeypatch, start, stop, lengths
):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 100)

    found = list(recording.pieces(start, stop, nothing_against_it))

    assert b"".join(found) == DATA[start:stop]
    assert [len(one) for one in found] == lengths
