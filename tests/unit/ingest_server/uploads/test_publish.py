"""What is published are the bytes that were verified, whoever had the file in hand meanwhile."""

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import CoreSite
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest, Receipt

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


@pytest.mark.parametrize(
    ("said", "folder", "mtime"),
    [
        ("2026-11-14T23:59:59Z", "2026-11-14", 1794700799),
        ("2026-11-14T23:59:59.5Z", "2026-11-14", 1794700799.5),
        ("1970-01-01T00:10:00Z", "2026-11-21", None),
        ("2027-11-14T00:00:00Z", "2026-11-21", None),
        (None, "2026-11-21", None),
    ],
)
def test_a_published_file_carries_the_time_of_the_recording(tmp_path, said, folder, mtime):
    site = CoreSite(tmp_path / "data", name_template="{recorded}/{name}")
    upload = site.create(length=len(DATA), modified_at=said)
    site.put(upload, 0, DATA)
    came_at = (site.data_dir / "parts" / f"{upload}.part").stat().st_mtime

    receipt = site.complete(upload, DATA)

    (found,) = published(site)
    assert receipt.published_as == f"{folder}/a.mp4"
    assert found.stat().st_mtime == (mtime or came_at)
    site.restart()
    assert site.complete(upload, DATA) == receipt  # the time is part of what it is known by
    site.stop()


def test_the_time_that_a_complete_tells_counts_before_that_of_the_create(tmp_path):
    site = CoreSite(tmp_path / "data", name_template="{recorded}/{name}")
    upload = site.create(length=None, modified_at="2026-11-14T23:59:00Z")
    site.put(upload, 0, DATA)
    request = CompleteRequest(len(DATA), Digest.of(DATA), "2026-11-15T00:10:00Z")

    receipt = site.receiver.complete("cam", upload, request)

    assert isinstance(receipt, Receipt)
    (found,) = published(site)
    assert receipt.published_as == "2026-11-15/a.mp4"
    assert found.stat().st_mtime == 1794701400
    site.restart()
    assert site.receiver.complete("cam", upload, request) == receipt
    site.stop()
