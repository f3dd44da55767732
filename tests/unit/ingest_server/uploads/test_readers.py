"""Who reads whole files: the readers, so that short completions never wait behind them."""

import hashlib
import threading

import pytest

from ingest_server.core.record import REPR_SHA_512
from ingest_server.uploads import finishing
from tests.support.core_site import CoreSite, Files
from tests.support.faulty_blobs import FaultyCopies, FaultyFiles
from upload_protocol.digests import Digest

DATA = b"a recording" * 1000


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(finishing, "QUICK_BYTES", len(DATA) - 1)


class Heard:
    """Notes which pool takes a step."""

    def __init__(self) -> None:
        self.pools: set[str] = set()

    def __call__(self, *_) -> None:
        self.pools.add(threading.current_thread().name.partition("_")[0])


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def started(tmp_path, heard):
    sites = []

    def start(blobs=FaultyFiles) -> CoreSite:
        sites.append(CoreSite(Files(tmp_path / "data", blobs=blobs), before_publish=heard))
        return sites[-1]

    yield start
    for site in sites:
        site.stop()


def sent(site, data=DATA, **more) -> str:
    upload = site.create(length=len(data), **more)
    site.put(upload, 0, data)
    return upload


def test_what_was_hashed_as_it_came_is_published_beside_the_readers(started, heard):
    site = started()

    site.complete(sent(site), DATA)

    assert heard.pools == {"publish"}


def test_a_large_copy_to_another_volume_is_made_by_the_readers(started, heard):
    site = started(FaultyCopies)

    receipt = site.complete(sent(site), DATA)

    assert receipt.digest == Digest.of(DATA)
    assert heard.pools == {"read"}


def test_a_small_copy_to_another_volume_is_a_moments_work(started, heard):
    site = started(FaultyCopies)

    site.complete(sent(site, b"small"), b"small")

    assert heard.pools == {"publish"}


def test_a_large_file_whose_sha_512_is_told_is_read_by_the_readers(started, heard):
    site = started()
    sha_512 = hashlib.sha512(DATA).hexdigest()

    site.complete(sent(site, metadata={REPR_SHA_512: sha_512}), DATA)

    assert heard.pools == {"read"}


@pytest.mark.parametrize("is_claimed", [True, False])
def test_a_large_twin_that_nobody_can_vouch_for_is_read_by_the_readers(started, heard, is_claimed):
    site = started()
    first = site.complete(sent(site), DATA)
    twin = sent(site)
    heard.pools.clear()
    (site.data_dir / "published" / first.published_as).chmod(0o600)
    site.blobs.fail["read published"] = heard

    assert site.complete(twin, DATA, digest=is_claimed).digest == Digest.of(DATA)

    assert heard.pools == {"read"}
