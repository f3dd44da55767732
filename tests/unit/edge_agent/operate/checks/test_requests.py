"""What `check` says of requests that break, are refused, or pass only in another way."""

import pytest

from edge_agent.base.errors import ForeignRefusalError, LinkDownError
from edge_agent.net.way import Way
from edge_agent.operate.checks.requests import _fitting
from edge_agent.send.trial import Trial

MIB = 1 << 20
BROKEN = "does not get through, though the server answers: Connection reset"
MTU = "full packets are lost on the way"


class Tries(Trial):
    """Ends each try as the test says; None: it passes."""

    def __init__(self, *ends):
        self.way = Way()
        self.rate = self.server_max = None
        self.ends = list(ends)

    def send(self, length):
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if end == "breaks":
            raise LinkDownError("Connection reset")
        if end == "refused":
            raise ForeignRefusalError(413, length)


@pytest.mark.parametrize(
    ("ends", "level", "said", "unsaid"),
    [
        ([None], "OK", "got through", MTU),
        (["breaks", None], "WARN", MTU, "Connection reset"),
        (["breaks", "breaks", None], "WARN", "in packets of 536 bytes (set the MTU", "reset"),
        (["breaks"], "FAIL", BROKEN, "MTU"),
        (["breaks", "refused", None], "WARN", BROKEN, "MTU"),
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
