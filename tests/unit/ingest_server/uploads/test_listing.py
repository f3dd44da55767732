"""A page of uploads: how many it holds, and how many are read for it."""

from collections.abc import Iterator

from ingest_server.uploads.listing import PAGE_BYTES, page_of
from upload_protocol.messages import Limits, UploadStatus
from upload_protocol.ranges import ByteRange, RangeSet


def statuses(count: int, *, name: str = "a.mp4", pieces: int = 1) -> Iterator[UploadStatus]:
    received = RangeSet([ByteRange(2 * at, 2 * at + 1) for at in range(pieces)])
    for number in range(count):
        yield UploadStatus(
            id=f"{number:032x}",
            device="cam",
            name=name,
            state="open",
            length=None,
            received=received,
            limits=Limits(max_length=None),
            expires_at=None,
            digest=None,
            receipt=None,
        )


def test_a_page_holds_as_many_as_were_asked_for():
    found, following = page_of(statuses(5), 3)

    assert [int(one.id, 16) for one in found] == [0, 1, 2]
    assert following == found[-1].id


def test_the_last_page_leads_nowhere():
    found, following = page_of(statuses(3), 3)

    assert len(found) == 3
    assert following is None
    assert page_of(statuses(0), 3) == ([], None)


def test_long_uploads_are_few_on_a_page_and_no_more_are_read_than_it_takes():
    uploads = statuses(1000, pieces=1000)

    found, following = page_of(uploads, 1000)

    assert 3 < len(found) < 10
    assert following == found[-1].id
    assert int(next(uploads).id, 16) == len(found) + 1


def test_one_that_is_longer_than_a_page_is_a_page_of_its_own():
    found, following = page_of(statuses(2, name="x" * (PAGE_BYTES + 1)), 9)

    assert len(found) == 1
    assert following == found[0].id
