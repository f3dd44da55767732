"""Recordings as a list: the same of every store of facts."""

from dataclasses import replace

import pytest

from ingest_server.core.record import State
from ingest_server.storage.interface import RecordingQuery, Removal
from tests.support.state_rows import DIGEST, insert, record
from upload_protocol.messages import Receipt


def recorded(number: int, at: str, *, device="cam", name="a.mp4", folder="", by=None):
    """Return an upload that published a recording, or was given the receipt of *by*."""
    one = record(number, device=device, name=name, folder=folder, state=State.COMPLETE)
    path = f"{device}/{number}"
    origin = one.id if by is None else by.id
    receipt = Receipt(origin, device, name, 5, DIGEST, at, "client", path)
    return replace(one, digest=DIGEST, target=path, receipt=receipt)


def ids(page) -> list[int]:
    return [int(one.upload_id, 16) for one in page.receipts]


@pytest.fixture
def four(state):
    first = recorded(1, "2026-11-21T10:00:00Z", name="GX01.mp4", folder="DCIM/100")
    insert(
        state,
        first,
        recorded(2, "2026-11-23T10:00:00Z", name="50%_\u0641\u064a\u062f\u064a\u0648.mp4"),
        recorded(3, "2026-11-22T10:00:00Z", device="dog", name="gx02.MP4"),
        recorded(4, "2026-11-22T10:00:00Z", name="back\\slash"),
        recorded(5, "2026-11-24T10:00:00Z", by=first),
        record(6, state=State.OPEN),
    )
    return state


def test_the_newest_come_first_and_each_file_once(four):
    page = four.recordings(RecordingQuery())

    assert ids(page) == [2, 4, 3, 1]
    assert page.next is None
    assert page.receipts[3] == four.get(record(1).id).receipt


def test_pages_follow_each_other_in_that_order(four):
    found, after = [], None
    for _ in range(4):
        page = four.recordings(RecordingQuery(limit=1, after=after))
        found += ids(page)
        after = page.next

    assert found == [2, 4, 3, 1]
    assert after is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (RecordingQuery(device="dog"), [3]),
        (RecordingQuery(device="nobody"), []),
        (RecordingQuery(name="gx0"), [3, 1]),
        (RecordingQuery(name="DCIM/100/G"), [1]),
        (RecordingQuery(name="%"), [2]),
        (RecordingQuery(name="_"), [2]),
        (RecordingQuery(name="\\"), [4]),
        (RecordingQuery(name="\u064a\u062f"), [2]),
        (RecordingQuery(name="'; --"), []),
        (RecordingQuery(name="gx0", device="cam"), [1]),
        (RecordingQuery(since="2026-11-22T10:00:00Z"), [2, 4, 3]),
        (RecordingQuery(until="2026-11-22T10:00:00Z"), [1]),
        (RecordingQuery(since="2026-11-22", until="2026-11-23", device="cam"), [4]),
        (RecordingQuery(since="2027"), []),
    ],
)
def test_they_are_found_by_device_time_and_name(four, wanted, found):
    assert ids(four.recordings(wanted)) == found


def test_what_was_removed_is_none(four):
    one = four.get(record(2).id)

    four.run(
        lambda rows: rows.mark_removed(
            one, Removal(one.target, one.id, "i"), "2026-11-25T10:00:00Z"
        )
    )

    assert ids(four.recordings(RecordingQuery())) == [4, 3, 1]


def test_an_upload_is_a_recording_once_it_is_complete(state):
    done = recorded(7, "2026-11-21T10:00:00Z")
    insert(state, replace(done, state=State.OPEN, target=None, receipt=None))
    assert ids(state.recordings(RecordingQuery())) == []

    state.run(lambda rows: rows.save(done))

    assert ids(state.recordings(RecordingQuery())) == [7]
