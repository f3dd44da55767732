"""The disk really runs full while a published file is copied to the start of an upload."""

import os
from contextlib import ExitStack

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads import copying
from tests.support.core_site import CoreSite, new_key
from tests.support.small_disk import small_disk
from upload_protocol.digests import Digest
from upload_protocol.messages import CreateRequest, Extends

MIB = 2**20
BEFORE = os.urandom(4 * MIB)
TAIL = os.urandom(1000)
REQUEST = CreateRequest("log.csv", extends=Extends(Digest.of(BEFORE), len(BEFORE)))


@pytest.mark.parametrize("left", [0, 300_000], ids=["before a piece", "in a piece"])
def test_what_was_copied_stays_and_the_same_request_goes_on_when_there_is_room(
    tmp_path, monkeypatch, left
):
    monkeypatch.setattr(copying, "COPY_BYTES", MIB)
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk", size="16m"))
        site = CoreSite(disk.path / "data")
        stack.callback(site.stop)
        first, key, asked = site.upload(BEFORE, "log.csv"), new_key(), []

        def has_left() -> bool:
            # Asked after the server has found that the next piece fits, and before it copies that.
            asked.append(1)
            if len(asked) == 3:
                disk.fill()
                os.truncate(disk.path / "ballast", os.path.getsize(disk.path / "ballast") - left)
            return False

        with pytest.raises(Refused) as refused:
            site.receiver.creation.claim("cam", key, REQUEST, has_left=has_left)
        [upload] = site.state.open_uploads("cam")
        kept = site.received(upload.id)
        published = site.published()
        disk.make_room()
        status, is_new, _ = site.receiver.creation.claim("cam", key, REQUEST)
        site.put(upload.id, len(BEFORE), TAIL)
        second = site.complete(upload.id, BEFORE + TAIL)

        assert (refused.value.code, refused.value.detail) == (
            "storage-full",
            "the server's disk is full",
        )
        assert kept == [[0, 2 * MIB]]
        assert published == {first.published_as: BEFORE}
        assert (status.id, is_new, status.received.to_pairs()) == (
            upload.id,
            False,
            [[0, len(BEFORE)]],
        )
        assert site.published() == {
            first.published_as: BEFORE,
            second.published_as: BEFORE + TAIL,
        }
