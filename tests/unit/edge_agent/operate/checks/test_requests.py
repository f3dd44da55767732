"""What `check` says of requests that break, are refused, or pass only in another way."""

import pytest

from edge_agent.base.errors import ForeignRefusalError, LinkDownError
from edge_agent.core.short_connections import Broken
from edge_agent.net.way import Way
from edge_agent.operate.checks.requests import _fitting
from edge_agent.send.trial import Trial
from upload_protocol.ranges import ByteRange, RangeSet

MIB = 1 << 20
BROKEN = "does not get through, though the server answers: Connection reset"
MTU = "full packets are lost on the way"


class Tries(Trial):
    """Ends each try as the test says; None: it passes."""

    def __init__(self, *ends):
        self.way = Way(agree=2)
        self.began_s = 0.0
        self.rate = self.server_max = None
        self.ends = list(ends)
        self.is_cut = False

    def send(self, length):
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        self.is_cut = end == "cut"
        if self.is_cut:
            self.way.broke(Broken("u", ByteRange(0, length), 0, self.began_s, self.began_s + 1))
            self.began_s += 2
        if end in {"breaks", "cut"}:
            raise LinkDownError("Connection reset")
        if end == "refused":
            raise ForeignRefusalError(413, length)

    def arrived_in_part(self):
        if self.is_cut:
            self.way.arrived("u", RangeSet([ByteRange(0, 600_000)]))
        return self.is_cut


@pytest.mark.parametrize(
    ("ends", "level", "said", "unsaid"),
    [
        ([None], "OK", "got through", MTU),
        (["breaks", None], "WARN", MTU, "Connection reset"),
        (["breaks", "breaks", None], "WARN", "in packets of 536 bytes (set the MTU", "reset"),
        (["breaks"], "FAIL", BROKEN, "MTU"),
        (["breaks", "refused", None], "WARN", BROKEN, "MTU"),
        (["cut", None], "WARN", f"{BROKEN}; the next one got through", "connections"),
        (["cut", "cut", None], "WARN", "after about 524.3 kB", MTU),
        (["cut", "cut", None], "WARN", "each over a connection of its own: that works", BROKEN),
    ],
)
def test_packets_are_called_too_full_only_where_smaller_ones_pass(ends, level, said, unsaid):
    found = _fitting(Tries(*ends), MIB)

    assert found.level == level
    assert said in found.text
    assert unsaid not in found.text


def test_where_packets_cannot_be_made_smaller_that_is_said_and_what_to_do():
    tries = Tries("breaks")
    tries.way.sets_packets = False

    found = _fitting(tries, MIB)

    assert found.level == "FAIL"
    assert "to a proxy that is reached over TLS: set the MTU of the interface" in found.text
