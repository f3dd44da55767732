"""Whether uploads come, and how many downloads go on meanwhile."""

from ingest_server.front.admission import (
    DOWNLOAD_THREADS,
    DOWNLOADS_BESIDE_UPLOADS,
    UPLOADS_PAUSE_S,
)
from ingest_server.front.queues import Arrivals


def test_downloads_are_fewer_from_the_first_of_some_uploads_to_a_moment_behind_the_last():
    now_s = [1.0]
    arrivals = Arrivals(lambda: now_s[0])
    assert arrivals.downloads_at_once() == DOWNLOAD_THREADS

    arrivals.begin()
    arrivals.begin()
    arrivals.end()
    now_s[0] += 3600
    assert arrivals.downloads_at_once() == DOWNLOADS_BESIDE_UPLOADS

    arrivals.end()
    now_s[0] += UPLOADS_PAUSE_S - 0.1
    assert arrivals.downloads_at_once() == DOWNLOADS_BESIDE_UPLOADS
    now_s[0] += 0.2
    assert arrivals.downloads_at_once() == DOWNLOAD_THREADS
