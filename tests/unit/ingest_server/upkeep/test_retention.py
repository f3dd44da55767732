"""Published files are removed when they are old by both clocks, and nothing else ever is."""

import json

import pytest

from ingest_server.auth.audit import Audit, now_asking
from ingest_server.config import load
from ingest_server.core.errors import Refused
from ingest_server.server import IngestServer
from ingest_server.upkeep.retention import Retention
from tests.support.core_site import HandClock, new_key
from tests.support.processes import toml
from tests.support.removals import DATE, DAY_S, sweep, told
from tests.support.standing import verify
from upload_protocol.messages import CompleteRequest, CreateRequest


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
    assert verify(site).findings == []


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


def test_verify_does_not_miss_what_was_removed(site):
    site.upload(b"hello")
    site.clock.seconds += 20 * DAY_S
    sweep(site)

    report = verify(site)

    assert (report.files, report.findings) == (0, [])


def test_the_days_may_change_while_the_server_runs(tmp_path):
    config = tmp_path / "server.toml"
    config.write_text(toml({"server": {"listen": "127.0.0.1:0", "data_dir": tmp_path / "data"}}))
    clock = HandClock()
    server = IngestServer(load(config, environ={}), clock)
    server.start(listens=False)
    try:
        receiver, housekeeper = server.parts.uploads, server.parts.housekeeper
        request = CreateRequest("a.mp4", length=0)
        upload_id = receiver.creation.create("cam", new_key(), request)[0].id
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
