"""The running hash is brought up to what came out of order, a piece at a time for each device."""

import pytest

from tests.support.core_site import CoreSite
from tests.support.processes import wait_for

DATA = bytes(range(256)) * 40


def test_what_came_out_of_order_is_hashed_in_pieces_to_its_end(
    site: CoreSite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ingest_server.uploads.hash_follower.AT_ONCE", 1000)
    upload_id = site.create(length=len(DATA))
    site.put(upload_id, 5000, DATA[5000:])

    site.put(upload_id, 0, DATA[:5000])

    live = site.store.live.pin(upload_id)
    wait_for(lambda: live.running.upto == len(DATA), "all of it is hashed")
    assert site.complete(upload_id, DATA).verified_against == "client"
