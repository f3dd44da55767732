"""A removal that a crash or somebody else interrupts takes that file or nothing."""

import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from ingest_server.storage.files.parts import FileBlobs
from tests.support.removals import DATE, DAY_S, PowerCut, sweep, told
from tests.support.standing import verify


def cut_after_the_mark(site, monkeypatch) -> None:
    def cut(*_args):
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(FileBlobs, "remove_published", cut)
        with pytest.raises(PowerCut):
            sweep(site)


def test_a_crash_between_mark_and_unlink_is_finished_whatever_is_configured_then(site, monkeypatch):
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    cut_after_the_mark(site, monkeypatch)
    assert len(site.published()) == 1
    assert verify(site).findings == []
    site.restart()

    assert [sweep(site, days=0), sweep(site, days=0)] == [1, 0]

    assert site.published() == {}
    assert len(told(site)) == 1


def test_a_crash_after_the_unlink_is_finished_without_harm(site, monkeypatch):
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S

    def cut(*_args):
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(FileBlobs, "_remove_empty", cut)
        with pytest.raises(PowerCut):
            sweep(site)
    site.restart()
    sweep(site)

    assert [one.name for one in (site.data_dir / "published").rglob("*")] == ["cam"]
    assert len(told(site)) == 1


def test_what_came_in_its_place_after_a_crash_stays(site, monkeypatch):
    receipt = site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    cut_after_the_mark(site, monkeypatch)
    path = site.data_dir / "published" / receipt.published_as
    other = path.with_name("other")
    other.write_bytes(b"world")
    other.rename(path)

    assert sweep(site) == 0
    assert sweep(site) == 0

    assert path.read_bytes() == b"world"


def test_a_file_of_another_length_is_left_alone(site):
    receipt = site.upload(b"hello")
    path = site.data_dir / "published" / receipt.published_as
    path.write_bytes(b"hello, and notes")
    site.clock.seconds += 20 * DAY_S

    assert sweep(site) == 0
    assert path.exists()
    assert told(site) == []


def test_links_are_not_followed_and_left_alone(site, tmp_path):
    receipt = site.upload(b"hello")
    outside = tmp_path / "outside"
    outside.write_bytes(b"hello")
    path = site.data_dir / "published" / receipt.published_as
    path.unlink()
    path.symlink_to(outside)
    site.clock.seconds += 20 * DAY_S

    assert sweep(site) == 0
    assert path.is_symlink()
    assert outside.exists()


def test_a_linked_folder_leads_nowhere(site, tmp_path):
    site.upload(b"hello")
    folder = site.data_dir / "published" / DATE
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    site.clock.seconds += 20 * DAY_S

    assert sweep(site) == 0
    assert (tmp_path / "moved" / "a.mp4").exists()


def test_a_link_swapped_in_after_the_mark_is_left_alone(site, tmp_path, monkeypatch):
    receipt = site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    cut_after_the_mark(site, monkeypatch)
    path = site.data_dir / "published" / receipt.published_as
    path.rename(tmp_path / "kept")
    path.symlink_to(tmp_path / "kept")

    assert sweep(site) == 0
    assert path.is_symlink()
    assert (tmp_path / "kept").exists()


def test_a_younger_file_at_the_name_of_an_old_one_stays(site):
    later = site.create(length=5)  # its folder is that of its creation
    receipt = site.upload(b"hello")
    path = site.data_dir / "published" / receipt.published_as
    path.unlink()
    site.clock.seconds += 9 * DAY_S
    site.put(later, 0, b"world")
    assert site.complete(later, b"world").published_as == receipt.published_as
    site.clock.seconds += 2 * DAY_S

    assert sweep(site) == 0
    assert path.read_bytes() == b"world"


def test_another_file_at_the_name_of_a_removed_one_is_not_taken_for_it(site):
    later = [site.create(length=5) for _ in range(2)]  # their folder is that of their creation
    removed = site.upload(b"hello")
    site.clock.seconds += 11 * DAY_S
    sweep(site)
    contents = (b"world", b"hello")
    receipts = []
    for upload_id, data in zip(later, contents, strict=True):
        site.put(upload_id, 0, data)
        receipts.append(site.complete(upload_id, data))

    assert receipts[0].published_as == removed.published_as
    assert [site.published()[one.published_as] for one in receipts] == list(contents)


def test_a_device_whose_folder_was_taken_away_stops_nothing(site):
    site.upload(b"gone", "gone.mp4")
    shutil.rmtree(site.data_dir / "published" / "cam")
    site.clock.seconds += 1
    site.upload(b"there", "there.mp4")
    site.clock.seconds += 11 * DAY_S

    assert sweep(site) == 1
    assert [one["name"] for one in told(site)] == ["there.mp4"]


def test_a_folder_taken_away_after_the_mark_is_the_end_of_it(site, monkeypatch):
    site.upload(b"hello")
    site.clock.seconds += 11 * DAY_S
    cut_after_the_mark(site, monkeypatch)
    shutil.rmtree(site.data_dir / "published" / "cam")

    assert sweep(site) == 0
    assert site.state.removals() == []


def test_what_was_set_apart_by_verify_is_not_removed(site):
    receipt = site.upload(b"hello")
    path = site.data_dir / "published" / receipt.published_as
    times = path.stat()
    path.chmod(0o600)
    path.write_bytes(b"jello")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [one.verdict for one in verify(site).findings] == ["corrupt"]
    site.clock.seconds += 11 * DAY_S

    assert sweep(site) == 0
    kept = [one for one in (site.data_dir / "quarantine").rglob("*") if one.is_file()]
    assert [one.read_bytes() for one in kept] == [b"jello"]


def test_a_database_from_before_the_removal_takes_nothing_else(site):
    receipt = site.upload(b"hello")
    copy = site.data_dir / "copy.db"
    with closing(sqlite3.connect(site.data_dir / "state.db")) as found:
        found.execute("VACUUM INTO ?", (str(copy),))
    site.clock.seconds += 11 * DAY_S
    assert sweep(site) == 1
    site.stop()
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (site.data_dir / name).unlink(missing_ok=True)
    copy.rename(site.data_dir / "state.db")
    site.start()
    path = site.data_dir / "published" / receipt.published_as
    path.parent.mkdir(parents=True)
    path.write_bytes(b"notes, not the recording")
    site.clock.seconds += 11 * DAY_S

    assert sweep(site) == 0
    assert path.read_bytes() == b"notes, not the recording"
