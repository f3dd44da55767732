"""How a device stands, read beside the server that writes it down each 20 seconds."""

from datetime import timedelta

import pytest

from edge_host.clock import SystemClock, rfc3339
from ingest_server.fleet.standing import reported
from ingest_server.storage.interface import KnownDevice


@pytest.mark.parametrize(
    ("silent_s", "presence"),
    [(50, "online"), (59, "online"), (61, "late"), (119, "late"), (121, "offline")],
)
def test_a_report_that_is_not_written_down_yet_makes_no_device_late(silent_s, presence):
    now = SystemClock().now_utc()
    seen = rfc3339(now - timedelta(seconds=silent_s))
    facts = b'{"last_seen": "%s", "next_s": 30}' % seen.encode()

    found = reported(KnownDevice("drone-1", facts=facts, state=None, info=None), now)

    assert found.presence == presence
