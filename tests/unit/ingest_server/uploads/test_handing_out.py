"""The bytes of one published recording, piece by piece."""

import os
import threading

import pytest

from ingest_server.core.errors import Refused
from ingest_server.core.record import State
from ingest_server.uploads import pieces
from ingest_server.uploads.handing_out import HandingOut
from tests.support.core_site import on_all_stores, on_disk
from tests.support.faulty_blobs import failing

DATA = bytes(range(256)) * 4


@pytest.fixture
def shelf(site):
    uploads = site.receiver
    return HandingOut(site.store, uploads.standings, uploads.long_work, lambda: 30.0)


@pytest.fixture
def recording(site, shelf):
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


@on_disk
def test_a_file_that_has_its_name_and_is_not_published_yet_is_no_recording(site, shelf):
    upload_id = site.create(length=len(DATA))
    site.put(upload_id, 0, DATA)
    site.blobs.fail["after link"] = failing(OSError(28, "full"))
    with pytest.raises(Refused, match="storage-full"):
        site.complete(upload_id, DATA)

    with pytest.raises(Refused, match="not-found"):
        shelf.find(upload_id)

    assert site.store.state.get(upload_id).state is State.PUBLISHING


@on_disk
def test_while_a_touched_file_has_to_be_read_first_whoever_asks_is_told_to_come_back(site):
    uploads, free = site.receiver, threading.Event()
    shelf = HandingOut(site.store, uploads.standings, uploads.long_work, lambda: 0.0)
    receipt = site.upload(DATA)
    os.utime(site.data_dir / "published" / receipt.published_as)
    uploads.long_work.join(receipt.device, "another", "its device's turn", free.wait, 0.0)

    try:
        with pytest.raises(Refused) as refused:
            shelf.open(receipt)
    finally:
        free.set()

    assert (refused.value.code, refused.value.status) == ("server-busy", 503)
    assert "ask again in a moment" in refused.value.detail
    assert refused.value.retry_after_s
