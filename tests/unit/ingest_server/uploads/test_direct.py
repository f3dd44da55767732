"""Which bytes a device is let send to the store itself; a store that takes them is met in `system/test_direct.py`."""

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.direct import Direct
from upload_protocol.digests import Digest
from upload_protocol.direct import Part
from upload_protocol.ranges import ByteRange

BORDER = 100
LENGTH = 250
ALL_ROUTES = frozenset({""})


@pytest.fixture
def site(site):
    site.blobs.border_bytes = BORDER
    return site


def signing(site, *ranges, routes=ALL_ROUTES):
    """Return why a new upload's *ranges* are not signed, and what of it is held by then."""
    upload_id = site.create(length=LENGTH)
    site.put(upload_id, 0, bytes(10))
    parts = [Part(ByteRange(*one), Digest.of(b"")) for one in ranges]
    with pytest.raises(Refused) as refused:
        Direct(site.store, routes).sign("cam", upload_id, parts)
    assert site.state.count_claims(upload_id) == 0
    return refused.value.code, refused.value.detail


def test_how_large_a_part_may_be_is_told_where_the_route_offers_it_and_there_are_bytes(site):
    records = [site.store.find("cam", site.create(length=one)) for one in (LENGTH, 0, None)]

    assert [Direct(site.store, ALL_ROUTES).part_bytes(one) for one in records] == [
        BORDER,
        None,
        None,
    ]
    assert Direct(site.store).part_bytes(records[0]) is None


@pytest.mark.parametrize(
    ("where", "code", "detail"),
    [
        ((200, 251), "invalid-range", "the part ends at byte 251, the file has 250"),
        ((150, 201), "not-direct", "a part lies between two multiples of 100 bytes"),
        ((0, 100), "not-direct", "some of the bytes 0 to 100 are here"),
        ((100, 200), "not-direct", "the server's store takes nothing from devices"),
    ],
)
def test_a_part_that_is_none_is_refused_and_claims_nothing(site, where, code, detail):
    assert signing(site, where) == (code, detail)


def test_one_part_that_is_refused_lets_go_of_those_before_it(site):
    code, _ = signing(site, (100, 200), (0, 100))

    assert code == "not-direct"


def test_where_no_rule_offers_it_the_bytes_come_through_the_server(site):
    code, detail = signing(site, (100, 200), routes=frozenset())

    assert (code, detail) == ("not-direct", "the bytes of this upload come through the server")
