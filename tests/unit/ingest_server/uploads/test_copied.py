"""Where no link leads to the published folder: copied there, read back there, moved into place."""

import errno
from pathlib import Path

import pytest

from ingest_server.core.errors import Refused, StorageError
from ingest_server.storage.files.parts import ELSEWHERE, FileBlobs
from ingest_server.storage.files.staging import Staging
from tests.support.core_site import CoreSite, Files
from tests.support.faulty_blobs import FaultyCopies, failing
from tests.support.inotify import watching
from tests.support.processes import wait_for
from upload_protocol.messages import CompleteRequest, CreateRequest

DATA = b"a recording" * 1000
STEPS = [
    *("before staging", "after staging", "before link", "after link", "after folders"),
    *("before announcing", "before unlink"),
]


class PowerCut(BaseException):
    """Nothing catches this."""


def copying(folder: Path, **settings) -> CoreSite:
    return CoreSite(Files(folder, blobs=FaultyCopies), **settings)


@pytest.fixture
def site(tmp_path):
    made = copying(tmp_path / "data")
    yield made
    made.stop()


@pytest.fixture
def watched(tmp_path):
    """A server whose folder for this device is there already: to a new one, a watch may come too late."""
    made = copying(tmp_path / "data", name_template="{device}/{name}")
    (made.data_dir / "published/cam").mkdir(mode=0o750)
    with watching(made.data_dir / "published") as watcher:
        yield made, watcher
    made.stop()


def staged(site) -> list[str]:
    return [one.name for one in (site.data_dir / "published" / ".ingest-server").iterdir()]


def sent(site, name: str = "a.mp4", **more) -> str:
    upload = site.create(name, len(DATA), **more)
    site.put(upload, 0, DATA)
    return upload


def test_a_file_is_published_as_elsewhere_and_nothing_of_the_way_is_left(watched):
    site, watcher = watched
    receipt = site.complete(sent(site, modified_at="2026-11-14T10:00:00Z"), DATA)
    again = site.upload(b"other bytes")
    wait_for(lambda: len(watcher.whole()) >= 4, "watchers are told")

    file = site.data_dir / "published" / receipt.published_as
    assert file.stat().st_nlink == 1
    assert file.stat().st_mode & 0o777 == 0o640
    assert file.stat().st_mtime == 1794650400
    assert again.published_as == "cam/a-2.mp4"
    assert site.published() == {receipt.published_as: DATA, again.published_as: b"other bytes"}
    assert staged(site) == []
    assert list((site.data_dir / "parts").iterdir()) == []
    told = [path for path, _ in watcher.whole() if not path.startswith(".ingest-server/")]
    assert told == [receipt.published_as, again.published_as]
    assert site.complete(receipt.upload_id, DATA) == receipt


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_ends_in_one_file(tmp_path, step):
    site = copying(tmp_path)
    upload = sent(site)
    site.blobs.fail[step] = failing(PowerCut())
    with pytest.raises(PowerCut):
        site.complete(upload, DATA)

    site.restart()

    receipt = site.complete(upload, DATA)
    assert site.published() == {receipt.published_as: DATA}
    assert staged(site) == []
    assert list((site.data_dir / "parts").iterdir()) == []
    assert site.upload(DATA) == receipt
    site.stop()


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_ends_in_one_file_though_a_consumer_made_a_better_name_free(tmp_path, step):
    site = copying(tmp_path)
    other = site.upload(b"other bytes")
    upload = sent(site)
    site.blobs.fail[step] = failing(PowerCut())
    with pytest.raises(PowerCut):
        site.complete(upload, DATA)
    was_there = [name for name, data in site.published().items() if data == DATA]
    (tmp_path / "published" / other.published_as).unlink()

    site.restart()

    receipt = site.complete(upload, DATA)
    assert site.published() == {receipt.published_as: DATA}
    assert was_there in ([], [receipt.published_as])
    assert staged(site) == []
    site.stop()


@pytest.mark.parametrize("is_told_by_move", [True, False])
def test_watchers_are_told_of_a_file_that_a_crash_left_without_a_receipt(
    watched, monkeypatch, is_told_by_move
):
    site, watcher = watched
    if not is_told_by_move:
        monkeypatch.setattr("edge_host.renaming._renameat2", None)
    upload = sent(site)
    site.blobs.fail["after link"] = failing(PowerCut())
    with pytest.raises(PowerCut):
        site.complete(upload, DATA)
    site.restart()
    receipt = site.complete(upload, DATA)
    told = 1 + is_told_by_move  # by the move, which whoever watches since the restart has not seen
    wait_for(lambda: times_told(watcher, receipt) >= told, "watchers are told")

    assert times_told(watcher, receipt) == told


def times_told(watcher, receipt) -> int:
    return [path for path, _ in watcher.whole()].count(receipt.published_as)


@pytest.mark.parametrize("step", STEPS[3:])
def test_who_watches_since_a_power_cut_is_told_of_what_it_left_published(tmp_path, step):
    site = copying(tmp_path, name_template="{device}/{name}")
    upload = sent(site)
    site.blobs.fail[step] = failing(PowerCut())
    with pytest.raises(PowerCut):
        site.complete(upload, DATA)

    with watching(tmp_path / "published") as watcher:
        site.restart()
        receipt = site.complete(upload, DATA)
        wait_for(lambda: times_told(watcher, receipt), "watchers are told")

    site.stop()


@pytest.mark.parametrize("step", STEPS[:5])
def test_a_disk_error_at_any_step_is_gone_on_with_by_the_next_complete(site, step):
    upload = sent(site)
    site.blobs.fail[step] = failing(OSError(errno.ENOSPC, "full"))
    with pytest.raises(Refused, match="storage-full"):
        site.complete(upload, DATA)
    site.blobs.fail.clear()

    receipt = site.complete(upload, DATA)

    assert site.published() == {receipt.published_as: DATA}


def test_L3_what_the_other_volume_gives_back_is_what_counts(site):
    upload = sent(site)

    def rot() -> None:
        [copy] = (site.data_dir / "published" / ".ingest-server").iterdir()
        with copy.open("r+b") as file:
            file.seek(5000)
            file.write(b"\0")

    site.blobs.fail["after staging"] = rot
    with pytest.raises(Refused, match="other bytes than were written"):
        site.complete(upload, DATA)
    assert site.published() == {}
    del site.blobs.fail["after staging"]

    assert site.published() == {}
    assert site.complete(upload, DATA).length == len(DATA)


def test_L3_a_copy_that_is_written_to_before_its_receipt_gets_none(site):
    upload = sent(site)

    def write() -> None:
        [copy] = (site.data_dir / "published" / "cam" / "2026-11-21").iterdir()
        copy.write_bytes(b"x" * len(DATA))

    site.blobs.fail["after folders"] = write

    with pytest.raises(Refused, match="changed before it was published"):
        site.complete(upload, DATA)


def test_a_name_taken_between_choice_and_move_leads_to_the_next_name(site):
    upload = sent(site)

    def take() -> None:
        del site.blobs.fail["before link"]
        path = site.data_dir / "published/cam/2026-11-21/a.mp4"
        path.write_bytes(b"someone else's")

    site.blobs.fail["before link"] = take

    assert site.complete(upload, DATA).published_as == "cam/2026-11-21/a-2.mp4"
    assert site.published()["cam/2026-11-21/a.mp4"] == b"someone else's"


def test_the_same_bytes_for_another_folder_have_to_be_sent(site):
    site.complete(sent(site, folder="one"), DATA)
    status, _ = site.receiver.creation.create(
        "cam", "a-key-of-its-own", CreateRequest("a.mp4", folder="two", length=len(DATA))
    )
    request = CompleteRequest(len(DATA), site.receiver.status("cam", status.id).digest)

    with pytest.raises(Refused, match="ranges-missing"):
        site.receiver.complete("cam", status.id, request)


def test_a_name_cannot_lead_into_the_servers_own_folder(tmp_path):
    site = copying(tmp_path, name_template="{folder}/{name}")
    site.complete(sent(site, "b.copy", folder=".ingest-server"), DATA)
    site.complete(sent(site, ".Ingest-Server", folder="."), DATA)

    site.restart()

    assert sorted(site.published()) == ["_-2.Ingest-Server", "_.ingest-server/b.copy"]
    site.stop()


def test_without_a_move_that_never_replaces_links_on_the_volume_do(watched, monkeypatch):
    site, watcher = watched
    monkeypatch.setattr("edge_host.renaming._renameat2", None)

    first, second = site.upload(b"one"), site.upload(b"two")
    wait_for(lambda: second.published_as in dict(watcher.whole()), "watchers are told")

    assert site.published() == {first.published_as: b"one", second.published_as: b"two"}
    assert staged(site) == []


def test_a_volume_on_which_nothing_is_safe_is_refused_in_one_sentence(tmp_path, monkeypatch):
    class Careless(FaultyCopies):
        def _try_a_link(self) -> bool:
            monkeypatch.setattr(Staging, "_move", _replace)
            return False

    def _replace(self, name, folder, to) -> None:
        (tmp_path / "published/.ingest-server" / name).replace(
            tmp_path / "published/.ingest-server" / to
        )

    with pytest.raises(StorageError, match="without replacing"):
        Careless(tmp_path).prepare()


def test_a_volume_that_is_not_mounted_any_more_is_not_published_under(tmp_path):
    (tmp_path / ELSEWHERE).touch()

    with pytest.raises(StorageError, match="mount it"):
        FileBlobs(tmp_path).prepare()


def test_nor_where_there_are_no_links_either(tmp_path):
    (tmp_path / ELSEWHERE).touch()

    with pytest.raises(StorageError, match="mount it"):
        FaultyCopies(tmp_path).prepare()

    assert list((tmp_path / "published").iterdir()) == []


def test_another_folder_in_the_place_of_the_volume_is_not_published_to(site):
    upload = sent(site)
    volume = site.data_dir / "published"
    volume.rename(volume.with_name("volume"))
    volume.mkdir()

    with pytest.raises(Refused, match=r"storage-failed.*mount it, then restart"):
        site.complete(upload, DATA)
    assert list(volume.iterdir()) == []

    volume.rmdir()
    volume.with_name("volume").rename(volume)
    receipt = site.complete(upload, DATA)
    assert site.published() == {receipt.published_as: DATA}
