"""One upload for one key, however many requests ask for it at once."""

import pytest

from ingest_server.uploads.new_uploads import NewUploads
from tests.support.core_site import on_all_stores
from upload_protocol.messages import CreateRequest

KEY = "the-same-key-0001"


@pytest.fixture
def new(site):
    return NewUploads(site.store)


@on_all_stores
def test_two_requests_at_once_with_one_key_make_one_upload_and_leave_one_part(site, new):
    request = CreateRequest("a.mp4", length=5)
    one, other = (new.plan("cam", KEY, request) for _ in range(2))  # neither saw the other's

    first, is_first_new = new.make(one, site.settings)
    second, is_second_new = new.make(other, site.settings)

    assert (is_first_new, is_second_new) == (True, False)
    assert first.id == second.id == one.id
    assert site.blobs.part_ids() == [one.id]
