"""Uploads that lanes know of: what becomes of the counts of those that are forgotten."""

from contextlib import closing

from edge_agent.core.recording import Found, Identity
from edge_agent.send.upload_progress import Kind, Task
from edge_agent.send.uploads_under_way import UploadsUnderWay
from edge_agent.store.recordings import Store
from tests.support.rim import StillClock
from upload_protocol.ranges import ByteRange


def test_a_delivery_dropped_in_flight_counts_its_bytes_as_sent_once(tmp_path):
    with closing(Store.open(tmp_path / "agent.db", clock=StillClock(), boot_id="b")) as store:
        (seen,) = store.add([Found(b"/m/a.mp4", "", "a.mp4", Identity(1, 2, 1000, 3, 4))])
    counts = []
    kept = UploadsUnderWay(lambda found: counts.append(found.take_counts()))
    one = kept.of(seen, 0.0)
    one.begin(1, Task(Kind.SEND, ByteRange(0, 1000))).sent = 700

    kept.drop(seen.id)
    kept.end(one, 1)

    assert counts == [(0, 0), (700, 0)]
