"""What is published are the bytes that were verified, whoever had the file in hand meanwhile."""

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import CoreSite

DATA = b"a" * 1000


@pytest.fixture
def site_with(tmp_path):
    made = []

    def make(check):
        made.append(CoreSite(tmp_path / "data", before_publish=check))
        return made[0]

    yield make
    made[0].stop()


def published(site):
    return [one for one in (site.data_dir / "published").rglob("*") if one.is_file()]


@pytest.mark.parametrize("claims", [True, False])
def test_L3_a_check_that_writes_to_the_file_lets_nothing_be_published(site_with, claims):
    site = site_with(lambda _record, path: path.write_bytes(b"b" * 1000))
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)

    with pytest.raises(Refused, match="stored bytes"):
        site.complete(upload, DATA, digest=claims)

    assert published(site) == []
    assert site.receiver.status("cam", upload).state == "open"


def test_a_check_that_only_touches_the_file_costs_a_second_look(site_with):
    site = site_with(lambda _record, path: path.chmod(0o640))
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)

    site.complete(upload, DATA)

    (found,) = published(site)
    assert found.read_bytes() == DATA
