"""A refusal that several are told is a copy for each of them."""

import pytest

from ingest_server.core.errors import Refused
from ingest_server.protocols.resumable import DialectRefused
from upload_protocol.ranges import ByteRange, RangeSet

MISSING = RangeSet([ByteRange(3, 5)])


@pytest.mark.parametrize(
    "refused",
    [
        Refused("server-busy", "later", missing=RangeSet([ByteRange(0, 1)]), retry_after_s=5),
        DialectRefused("ranges-missing", "not whole yet", status="400 Bad Request"),
        DialectRefused("forbidden", "no", type_uri="urn:x", members={"more": 1}),
    ],
)
def test_a_copy_says_the_same_and_has_a_traceback_of_its_own(refused):
    with pytest.raises(Refused) as caught:
        raise refused

    again = caught.value.again()

    assert type(again) is type(refused)
    assert (str(again), again.status) == (str(refused), refused.status)
    assert again.retry_after_s == refused.retry_after_s
    assert again.document("id") == refused.document("id")
    assert again.__traceback__ is None
    assert again.again(MISSING).missing == MISSING
    assert again.missing == refused.missing
