"""A crash at any step: the next start finds exactly one published file, or none and all bytes."""

import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingest_server.core.errors import Refused, StorageError
from ingest_server.core.record import State
from ingest_server.storage.files.parts import FileBlobs
from tests.support.core_site import CoreSite, InThread, on_disk
from tests.support.faulty_blobs import failing
from tests.support.inotify import watching
from tests.support.processes import wait_for
from upload_protocol.digests import Digest

STEPS = ["before link", "after link", "after folders", "before announcing", "before unlink"]


class PowerCut(BaseException):
    """Nothing catches this."""


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_while_publishing_ends_in_one_file(tmp_path, step):
    site = CoreSite(tmp_path)
    upload = site.create(length=5)
    site.put(upload, 0, b"hello")
    site.blobs.fail[step] = failing(PowerCut())
    with pytest.raises(PowerCut):
        site.complete(upload, b"hello")

    with watching(site.data_dir / "published") as watcher:
        site.restart()
        receipt = site.complete(upload, b"hello")
        wait_for(watcher.whole, "watchers are told")

    # Told again where the cut was after the first time: nobody can know that it was heard.
    assert watcher.whole() == [(receipt.published_as, b"hello")]
    assert list(site.published().values()) == [b"hello"]
    assert (site.data_dir / "published" / receipt.published_as).read_bytes() == b"hello"
    assert not list((site.data_dir / "parts").iterdir())
    assert site.upload(b"hello", "a.mp4") == receipt
    site.stop()


@pytest.mark.parametrize("step", STEPS[:3])
def test_a_disk_error_while_publishing_is_gone_on_with_by_the_next_complete(site, step):
    upload = site.create(length=5)
    site.put(upload, 0, b"hello")
    site.blobs.fail[step] = failing(OSError(28, "full"))
    with pytest.raises(Refused, match="storage-full"):
        site.complete(upload, b"hello")
    site.blobs.fail.clear()

    receipt = site.complete(upload, b"hello")

    assert site.published() == {receipt.published_as: b"hello"}


@on_disk
def test_a_part_that_cannot_be_unlinked_is_no_fault_of_what_was_done(site):
    site.blobs.fail["before unlink"] = failing(OSError(5, "Input/output error"))

    receipt = site.upload(b"hello")
    aborted = site.create("b.mp4", 5)
    ended = site.receiver.abort("cam", aborted)

    assert site.published() == {receipt.published_as: b"hello"}
    assert ended.state == "aborted"
    assert len(list((site.data_dir / "parts").iterdir())) == 2
    site.restart()
    assert list((site.data_dir / "parts").iterdir()) == []


@on_disk
@pytest.mark.parametrize("step", ["before link", "after link", "after folders"])
def test_a_consumer_may_take_the_folder_away_while_a_file_gets_into_it(site, step):
    day = site.data_dir / "published/cam/2026-11-21"
    taken: list[Any] = []

    def take() -> None:
        del site.blobs.fail[step]
        taken.extend(one.read_bytes() for one in day.glob("*"))
        shutil.rmtree(day.parent, ignore_errors=True)

    site.blobs.fail[step] = take

    receipt = site.upload(b"hello")

    assert taken or site.published() == {receipt.published_as: b"hello"}
    assert taken in ([], [b"hello"])


@pytest.mark.slow
@on_disk
def test_a_consumer_that_takes_everything_away_at_once_stops_nothing(site):
    ended = threading.Event()
    taken: list[Any] = []

    def take(folder: Path) -> None:
        for one in folder.iterdir():
            with suppress(OSError):
                if one.is_dir():
                    take(one)
                    one.rmdir()
                else:
                    taken.append(one.read_bytes())
                    one.unlink()

    def consume() -> None:
        while not ended.is_set():
            with suppress(OSError):
                take(site.data_dir / "published")
        take(site.data_dir / "published")

    consumer = InThread(consume)
    try:
        for number in range(30):
            site.upload(b"%d" % number, f"{number}.mp4")
    finally:
        ended.set()
        consumer.join()

    assert sorted(taken) == sorted(b"%d" % number for number in range(30))


@on_disk
def test_a_name_taken_between_choice_and_link_leads_to_the_next_name(site):
    upload = site.create("a.mp4", 5)
    site.put(upload, 0, b"hello")

    def take() -> None:
        del site.blobs.fail["before link"]
        path = site.data_dir / "published/cam/2026-11-21/a.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"someone else's")

    site.blobs.fail["before link"] = take

    assert site.complete(upload, b"hello").published_as == "cam/2026-11-21/a-2.mp4"
    assert site.published()["cam/2026-11-21/a.mp4"] == b"someone else's"


@on_disk
def test_a_planted_link_leads_nowhere(site, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (site.data_dir / "published" / "cam").symlink_to(outside)

    receipt = site.upload(b"hello")

    assert list(outside.iterdir()) == []
    assert receipt.published_as.startswith(receipt.upload_id)


def test_verifying_goes_on_after_a_restart(tmp_path):
    site = CoreSite(tmp_path)
    upload = site.create(length=5)
    site.put(upload, 0, b"hello")
    site.state.run(lambda rows: rows.save(replace(rows.get(upload), state=State.VERIFYING)))
    site.stop()

    site.start()

    assert site.recovery.resumed == 1
    assert site.complete(upload, b"hello").digest == Digest.of(b"hello")
    assert list(site.published().values()) == [b"hello"]
    site.stop()


def test_a_part_without_an_upload_is_set_aside_and_never_deleted(tmp_path):
    site = CoreSite(tmp_path)
    stray = tmp_path / "parts" / ("a" * 32 + ".part")
    stray.write_bytes(b"who knows")

    site.restart()

    assert site.recovery.strays == 1
    assert (tmp_path / "lost+found" / stray.name).read_bytes() == b"who knows"
    site.stop()


def test_an_upload_whose_part_is_gone_is_failed_and_told_so(tmp_path):
    site = CoreSite(tmp_path)
    upload = site.create(length=5)
    site.put(upload, 0, b"hello")
    (tmp_path / "parts" / f"{upload}.part").unlink()

    site.restart()

    assert site.recovery.lost == 1
    with pytest.raises(Refused, match="upload-aborted"):
        site.put(upload, 0, b"hello")
    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(upload, b"hello")
    listed, _ = site.receiver.listing.page(None, state="failed", after=None, limit=10)
    assert [one.id for one in listed] == [upload]
    site.stop()


@on_disk
def test_a_second_server_on_the_folder_is_refused(site):
    with pytest.raises(StorageError, match="another ingest-server"):
        FileBlobs(site.data_dir).prepare()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot use"):
        FileBlobs(tmp_path / "file" / "data").prepare()


def test_a_stop_while_verifying_is_told_and_the_next_start_goes_on(tmp_path, monkeypatch):
    site = CoreSite(tmp_path)
    upload = site.create(length=5)
    site.put(upload, 0, b"hello")
    site.restart()  # the running hash is gone: completing has to read the file
    reading, stopped = threading.Event(), site.store.stopping
    open_part = site.blobs.open_part

    def open_when_stopping(upload_id, claim=None):
        reading.set()
        assert stopped.wait(10)
        return open_part(upload_id)

    monkeypatch.setattr(site.blobs, "open_part", open_when_stopping)
    asking = InThread(lambda: site.complete(upload, b"hello"))
    assert reading.wait(10)

    site.stop()

    with pytest.raises(Refused, match="stopping"):
        asking.join()
    assert site.published() == {}
    site.start()
    assert site.recovery.resumed == 1
    assert site.complete(upload, b"hello").digest == Digest.of(b"hello")
    site.stop()
