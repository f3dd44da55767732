"""How fast a command may send: all its threads together, and ended at once."""

import pytest

from ingest_server.assembly.pace import Pace
from ingest_server.core.errors import StorageError
from tests.support.clock import VirtualClock
from tests.support.core_site import InThread


def test_who_comes_after_the_allowed_bytes_waits_until_the_command_ends():
    pace = Pace(1000, VirtualClock())
    pace.take(3_600_000)  # an hour's

    waiting = InThread(lambda: pace.take(1))
    pace.end()

    with pytest.raises(StorageError, match="goes on where it was"):
        waiting.join()


def test_bytes_go_at_once_while_the_rate_allows_them():
    clock = VirtualClock()
    pace = Pace(1000, clock)
    for _ in range(3):
        pace.take(1000)
        clock.pass_s(1.0)
