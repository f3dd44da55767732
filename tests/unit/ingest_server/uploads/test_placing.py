"""Several uploads get their published names at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from ingest_server.core.errors import Refused
from ingest_server.core.names import folded
from tests.support.core_site import BytesBody, CoreSite, InThread, new_key, on_all_stores
from upload_protocol.digests import Digest
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest, Receipt
from upload_protocol.ranges import ByteRange


def brought(site, device: str, name: str, data: bytes, folder: str = "") -> str:
    """Bring all bytes of an upload, which is not completed."""
    status, _ = site.receiver.creation.create(
        device, new_key(), CreateRequest(name, folder=folder, length=len(data))
    )
    where = ContentRange(ByteRange(0, len(data)), None)
    site.receiver.receive(device, status.id, where, BytesBody(data), None)
    return status.id


def completed(site, device: str, upload: str, data: bytes) -> Receipt:
    request = CompleteRequest(len(data), Digest.of(data))
    receipt = site.receiver.complete(device, upload, request)
    assert isinstance(receipt, Receipt)
    return receipt


@on_all_stores
def test_nobody_waits_for_a_name_in_the_folder_of_another_device(site):
    mine = brought(site, "cam", "a.mp4", b"mine")
    others = brought(site, "dog", "a.mp4", b"another's")
    publisher = site.receiver.publisher

    with publisher.paused(publisher.naming.first(site.store.find("cam", mine))):
        receipt = completed(site, "dog", others, b"another's")

    assert site.published() == {receipt.published_as: b"another's"}


def test_of_files_that_come_at_once_no_two_get_names_that_differ_in_case_only(tmp_path):
    site = CoreSite(tmp_path, name_template="{folder}/{name}")
    folders = ["Raw/One", "raw/one", "RAW/Two", "raw/two/Deep", "Raw/Two/deep", "rAw", ""]
    wanted = [*product(folders, ["clip.mp4", "Clip.MP4", "clip-2.mp4"]), ("", "raw"), ("", "RAW")]
    files = {
        f"cam-{number}": (folder, name, b"%d" % number)
        for number, (folder, name) in enumerate(wanted)
    }
    uploads = {
        device: brought(site, device, name, data, folder)
        for device, (folder, name, data) in files.items()
    }
    together = threading.Barrier(len(uploads))

    def complete(device: str) -> None:
        together.wait(20)
        completed(site, device, uploads[device], files[device][2])

    with ThreadPoolExecutor(len(uploads)) as pool:
        list(pool.map(complete, uploads))

    published = site.published()
    assert sorted(published.values()) == sorted(data for _, _, data in files.values())
    spellings = {
        "/".join(parts[:depth])
        for parts in (target.split("/") for target in published)
        for depth in range(1, len(parts) + 1)
    }
    assert len({folded(one) for one in spellings}) == len(spellings), sorted(spellings)
    site.stop()


def test_a_file_that_is_replaced_just_before_it_gets_a_second_name_does_not_get_it(tmp_path):
    asked = threading.Event()
    site = CoreSite(tmp_path, before_publish=lambda *_: asked.set())
    first = site.upload(b"the same", "a.mp4").published_as
    upload = site.create("b.mp4", len(b"the same"))
    asked.clear()

    with site.receiver.publisher.paused(first):
        completing = InThread(lambda: site.complete(upload, b"the same"))
        assert asked.wait(20)
        (tmp_path / "published" / first).unlink()
        (tmp_path / "published" / first).write_bytes(b"another!")

    with pytest.raises(Refused, match="just changed"):
        completing.join()
    assert site.published() == {first: b"another!"}
    site.stop()
