"""Published files are removed when they are old by both clocks, and nothing else ever is."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingest_server.auth.audit import Audit, now_asking
from ingest_server.config import load
from ingest_server.core.errors import Refused
from ingest_server.server import IngestServer
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.upkeep.retention import Retention
from ingest_server.upkeep.scrub import Report, Scrub
from tests.support.core_site import CoreSite, HandClock, new_key
from tests.support.processes import toml
from upload_protocol.messages import CompleteRequest, CreateRequest

DAY_S = 86_400
DATE = "cam/2026-11-21"


class PowerCut(BaseException):
    pass


def sweep(site: CoreSite, days: float = 10) -> int:
    site.receiver.settings = replace(site.receiver.settings, keep_published_s=days * DAY_S)
    return site.housekeeper.remove_old()


def told(site: CoreSite) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection:
        rows = connection.execute(
            "SELECT data FROM events WHERE type = 'ingest.file.removed' ORDER BY seq"
        )
        return [json.loads(row[0]) for row in rows]


def wall(site: CoreSite, monkeypatch, moment: datetime) -> None:
    monkeypatch.setattr(site.clock, "now_utc", lambda: moment)


def test_old_files_go_and_younger_ones_stay(site):
    old = site.upload(b"old", "old.mp4")
    site.clock.seconds += 9 * DAY_S
    young = site.upload(b"young", "young.mp4")
    site.clock.seconds += 1 * DAY_S

    assert sweep(site) == 1

    assert site.published() == {young.published_as: b"young"}
    [event] = told(site)
    assert event["published_as"] == old.published_as
    assert event["removed_at"] == "2026-12-01T10:16:40Z"


def test_by_default_everything_is_kept(site):
    site.upload(b"old")
    site.clock.seconds += 10_000 * DAY_S

    assert site.housekeeper.remove_old() == 0

    assert len(site.published()) == 1


def test_the_oldest_goes_first(site, monkeypatch):
    receipts = []
    for name in "cab":
        receipts.append(site.upload(name.encode(), name))
        site.clock.seconds += 1
    site.clock.seconds += 20 * DAY_S

    monkeypatch.setattr("ingest_server.upkeep.retention.AT_ONCE", 2)

    assert [sweep(site), sweep(site)] == [2, 1]
    assert [one["upload_id"] for one in told(site)] == [one.upload_id for one in receipts]


def test_more_than_a_page_of_files_that_somebody_took_hides_no_old_one(site, monkeypatch):
    monkeypatch.setattr("ingest_server.upkeep.retention.PAGE", 2)
    for number in range(5):
        receipt = site.upload(f"{number}".encode(), f"{number}.mp4")
        if number < 4:
            (site.data_dir / "published" / receipt.published_as).unlink()
    site.clock.seconds += 20 * DAY_S

    assert sweep(site) == 1
    assert len(told(site)) == 1


def test_the_same_upload_completed_again_gets_the_same_receipt(site):
    receipt = site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    sweep(site)
    site.restart()

    assert site.complete(receipt.upload_id, b"hello") == receipt


def test_a_new_upload_of_a_removed_file_is_published_anew(site):
    first = site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    sweep(site)

    again = site.upload(b"hello")

    assert again.upload_id != first.upload_id
    assert site.published() == {again.published_as: b"hello"}


def test_a_receipt_is_not_given_for_a_file_that_is_removed_meanwhile(site, monkeypatch):
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    placing = site.receiver.publisher.placing
    adopt = placing.adopt

    def late(record, receipt):
        sweep(site)
        return adopt(record, receipt)

    with monkeypatch.context() as patched:
        patched.setattr(placing, "adopt", late)
        upload_id = site.create(length=5)
        site.put(upload_id, 0, b"hello")
        with pytest.raises(Refused, match="being removed"):
            site.complete(upload_id, b"hello")

    assert site.published() == {}
    assert site.complete(upload_id, b"hello").upload_id == upload_id
    assert len(site.published()) == 1


def test_repeats_are_removed_with_the_file_and_told_once(site):
    first = site.upload(b"hello")
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S

    assert sweep(site) == 1

    assert [one["upload_id"] for one in told(site)] == [first.upload_id]
    assert scrub(site).findings == []


def test_empty_folders_go_up_to_the_devices_own(site):
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S

    sweep(site)

    assert [one.name for one in (site.data_dir / "published").rglob("*")] == ["cam"]


def test_a_folder_with_anything_in_it_stays(site):
    site.upload(b"hello")
    (site.data_dir / "published" / DATE / "notes.txt").write_text("mine")
    site.clock.seconds += 20 * DAY_S

    sweep(site)

    assert site.published() == {f"{DATE}/notes.txt": b"mine"}


def scrub(site: CoreSite) -> Report:
    blobs, report = FileBlobs(site.data_dir), Report()
    blobs.look()
    try:
        Scrub(site.state, blobs, site.clock).run(lambda _report, _path: None, report)
    finally:
        blobs.close()
    return report


def test_verify_does_not_miss_what_was_removed(site):
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    sweep(site)

    report = scrub(site)

    assert (report.files, report.findings) == (0, [])


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
    assert scrub(site).findings == []
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


def test_a_clock_behind_what_it_showed_before_removes_not_even_what_is_old_by_it(site, monkeypatch):
    site.upload(b"old", "old.mp4")
    started = site.clock.now_utc()
    site.clock.seconds += 50 * DAY_S
    site.upload(b"young", "young.mp4")
    wall(site, monkeypatch, started + timedelta(days=30))

    assert sweep(site) == 0
    assert len(site.published()) == 2


@pytest.mark.parametrize("year", [1970, 2025])
def test_a_clock_that_jumped_back_removes_nothing(site, monkeypatch, year):
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    wall(site, monkeypatch, datetime(year, 1, 1, tzinfo=UTC))

    assert sweep(site) == 0
    assert sweep(site, days=36_500) == 0
    assert len(site.published()) == 1


def test_a_clock_that_jumped_far_ahead_removes_nothing_that_the_server_did_not_keep_so_long(
    site, monkeypatch
):
    old = site.upload(b"old", "old.mp4")
    site.clock.seconds += 11 * DAY_S
    young = site.upload(b"young", "young.mp4")
    wall(site, monkeypatch, datetime(2100, 1, 1, tzinfo=UTC))

    assert sweep(site) == 1

    assert [one["upload_id"] for one in told(site)] == [old.upload_id]
    assert list(site.published()) == [young.published_as]


def test_a_file_verified_in_a_wrong_2100_lets_the_others_go_after_a_day(site, monkeypatch):
    old = site.upload(b"old", "old.mp4")
    site.clock.seconds += 10 * DAY_S
    right = site.clock.now_utc
    wall(site, monkeypatch, datetime(2100, 1, 1, tzinfo=UTC))
    wrong = site.upload(b"wrong", "wrong.mp4")
    monkeypatch.setattr(site.clock, "now_utc", right)

    assert sweep(site) == 0
    site.clock.seconds += DAY_S + 1
    assert sweep(site) == 1

    assert [one["upload_id"] for one in told(site)] == [old.upload_id]
    assert list(site.published()) == [wrong.published_as]


def test_a_removal_while_the_clock_was_ahead_stops_no_later_one(site, monkeypatch):
    site.upload(b"first", "first.mp4")
    site.clock.seconds += 11 * DAY_S
    site.upload(b"second", "second.mp4")
    right = site.clock.now_utc
    wall(site, monkeypatch, datetime(2100, 1, 1, tzinfo=UTC))
    assert sweep(site) == 1
    monkeypatch.setattr(site.clock, "now_utc", right)
    site.clock.seconds += 11 * DAY_S

    assert sweep(site) == 1
    assert site.published() == {}


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
    assert [one.verdict for one in scrub(site).findings] == ["corrupt"]
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


def test_the_days_may_change_while_the_server_runs(tmp_path):
    config = tmp_path / "server.toml"
    config.write_text(toml({"server": {"listen": "127.0.0.1:0", "data_dir": tmp_path / "data"}}))
    clock = HandClock()
    server = IngestServer(load(config, environ={}), clock)
    server.start(listens=False)
    try:
        receiver, housekeeper = server.parts.uploads, server.parts.housekeeper
        request = CreateRequest("a.mp4", length=0)
        upload_id = receiver.create("cam", new_key(), request)[0].id
        receiver.complete("cam", upload_id, CompleteRequest(0, None))
        clock.seconds += 20 * DAY_S
        assert housekeeper.remove_old() == 0
        config.write_text(config.read_text() + toml({"retention": {"published_days": 10}}))

        assert server.reload(load(config, environ={})) == []

        assert housekeeper.remove_old() == 1
        config.write_text(config.read_text() + toml({"log": {"audit_file": tmp_path / "audit"}}))
        for _ in range(2):  # it is pending as long as the server runs
            assert server.reload(load(config, environ={})) == ["[log] audit_file"]
    finally:
        server.stop()


def test_time_in_which_the_server_did_not_run_makes_nothing_old(site, monkeypatch):
    site.upload(b"hello")
    site.stop()
    started = site.clock.now_utc()
    wall(site, monkeypatch, started + timedelta(days=300))
    site.start()

    assert sweep(site) == 0

    site.clock.seconds += 10 * DAY_S
    assert sweep(site) == 1


def test_each_removal_is_in_the_audit_log(site, tmp_path):
    receipt = site.upload(b"hello")
    path = tmp_path / "audit.jsonl"
    site.stop()
    site.audit = Audit(path, site.clock.now_utc)
    site.start()
    site.clock.seconds += 20 * DAY_S
    now_asking("of a request that this thread had before")

    sweep(site)

    [entry] = [json.loads(line) for line in path.read_text().splitlines()]
    assert (entry["action"], entry["actor"], entry["object"], entry["result"]) == (
        "file.remove",
        "server",
        receipt.published_as,
        "ok",
    )


def test_it_is_looked_each_hour(site):
    retention = site.housekeeper.retention
    assert isinstance(retention, Retention)
    assert retention.is_due()

    sweep(site)

    assert not retention.is_due()
    site.clock.seconds += 3600
    assert retention.is_due()
