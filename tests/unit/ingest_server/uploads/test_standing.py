"""A receipt of an earlier upload is given only for a file that is what was read of it."""

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest_server.core.errors import Refused
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.upkeep.scrub import Report, Scrub
from ingest_server.uploads.earlier import MOST_NAMES
from ingest_server.uploads.pending import Pending
from tests.support import readings
from tests.support.core_site import CoreSite, InThread
from tests.support.faulty_blobs import failing
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest

DATA = os.urandom(5000)
DAY_S = 86_400
READ = "read published"


@pytest.fixture
def site(tmp_path):
    """What somebody does to a published file, he does to a file."""
    site = CoreSite(tmp_path / "data")
    yield site
    site.stop()


def where(site: CoreSite, published_as: str) -> Path:
    return site.data_dir / "published" / published_as


def damage(site: CoreSite, published_as: str, at: int = 1000) -> bytes:
    """Flip one bit in place, and set the time of the change back as far as a program can."""
    path = where(site, published_as)
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path.read_bytes()


def rot(site: CoreSite, published_as: str) -> bytes:
    """Flip one bit as a disk does: nothing of the file's metadata tells."""
    rotten = damage(site, published_as)
    identity = site.blobs.identity(published_as)
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection, connection:
        connection.execute("UPDATE readings SET identity = ?", (identity,))
    return rotten


def claim(site: CoreSite, data: bytes = DATA, **more: Any) -> tuple[str, Any]:
    """Create and complete by a digest, without sending a byte."""
    upload = site.create(length=len(data), digest=Digest.of(data), **more)
    return upload, site.receiver.complete("cam", upload, CompleteRequest(len(data), None))


def told(site: CoreSite) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection:
        rows = connection.execute("SELECT data FROM events WHERE type = 'ingest.file.corrupted'")
        return [json.loads(row[0]) for row in rows]


def reads(site: CoreSite) -> int:
    return site.blobs.seen.count(READ)


def forget_readings(site: CoreSite) -> None:
    site.stop()
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection, connection:
        connection.execute("DELETE FROM readings")
    site.start()


def test_a_file_hashed_in_this_run_is_not_read_again(site):
    first = site.upload(DATA)

    _, again = claim(site)

    assert again == first
    assert site.upload(DATA) == first
    assert reads(site) == 0


def test_l3_bytes_sent_again_are_kept_beside_a_damaged_file(site):
    first = site.upload(DATA)
    rotten = damage(site, first.published_as)

    again = site.upload(DATA)

    assert again.published_as == "cam/2026-11-21/a-2.mp4"
    assert again.upload_id != first.upload_id
    assert site.published() == {first.published_as: rotten, again.published_as: DATA}
    assert [one["path"] for one in told(site)] == [first.published_as]


def test_l3_without_the_clients_digest_bytes_sent_again_are_kept_too(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)

    again = site.complete(upload, DATA, digest=False)

    assert site.published()[again.published_as] == DATA


def test_l3_a_claimed_file_that_is_damaged_has_to_be_sent(site):
    first = site.upload(DATA)
    damage(site, first.published_as)

    with pytest.raises(Refused, match="ranges-missing") as caught:
        claim(site)

    assert present(caught.value.missing).to_pairs() == [[0, len(DATA)]]


def test_a_damaged_file_is_told_and_read_once_however_often_it_is_asked_for(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    for _ in range(3):
        with pytest.raises(Refused, match="ranges-missing"):
            claim(site)

    assert len(told(site)) == 1
    assert reads(site) == 1


def test_l3_a_complete_upload_gives_no_receipt_for_a_file_that_has_changed(site):
    first = site.upload(DATA)
    damage(site, first.published_as)

    for _ in range(2):
        with pytest.raises(Refused, match="upload-aborted: the published file has changed"):
            site.complete(first.upload_id, DATA)
    for ask in (site.receiver.status, site.receiver.take_over):
        with pytest.raises(Refused, match="upload-aborted: the published file has changed"):
            ask("cam", first.upload_id)
    listed, _ = site.receiver.listing("cam", state="complete", after=None, limit=10)
    assert [(one.state, one.receipt) for one in listed] == [("failed", None)]


def test_a_status_of_a_file_that_must_be_read_says_so_and_gets_it_read(site):
    first = site.upload(DATA)
    where(site, first.published_as).chmod(0o600)

    with readings.taking_its_time(site.receiver.standings):
        status = site.receiver.status("cam", first.upload_id)

    assert (status.state, status.receipt) == ("verifying", None)
    assert site.complete(first.upload_id, DATA) == first
    status = site.receiver.status("cam", first.upload_id)
    assert (status.state, status.receipt) == ("complete", first)
    assert reads(site) == 1


def test_a_file_that_only_got_a_new_mode_or_another_name_keeps_its_receipt(site):
    first = site.upload(DATA)
    os.link(where(site, first.published_as), site.data_dir / "elsewhere")

    assert site.complete(first.upload_id, DATA) == first
    assert claim(site)[1] == first
    assert told(site) == []
    assert reads(site) == 1


def test_a_file_repaired_in_place_counts_again(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    with pytest.raises(Refused, match="ranges-missing"):
        claim(site)

    damage(site, first.published_as)  # the same bit again

    assert claim(site)[1] == first


def test_the_receipt_of_a_file_that_a_consumer_took_away_stands(site):
    first = site.upload(DATA)
    where(site, first.published_as).unlink()

    assert site.complete(first.upload_id, DATA) == first
    with pytest.raises(Refused, match="ranges-missing"):
        claim(site)


def test_a_name_that_a_later_file_has_now_says_nothing_of_the_earlier_one(site):
    first = site.upload(DATA)
    where(site, first.published_as).unlink()
    site.clock.seconds += 1
    later = site.upload(DATA[::-1])
    assert later.published_as == first.published_as

    assert site.complete(first.upload_id, DATA) == first
    assert site.complete(later.upload_id, DATA[::-1]) == later
    assert told(site) == []


def test_l3_a_file_set_apart_as_damaged_gives_no_receipt(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    verify(site)

    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(first.upload_id, DATA)


def verify(site: CoreSite) -> None:
    blobs = FileBlobs(site.data_dir)
    blobs.look()
    try:
        Scrub(site.state, blobs, site.clock).run(lambda _report, _path: None, Report())
    finally:
        blobs.close()


@pytest.mark.parametrize(("days", "is_read"), [(1, False), (3, True)])
def test_after_a_restart_a_reading_counts_for_so_many_days(tmp_path, days, is_read):
    site = CoreSite(tmp_path / "data", scrub_s=2 * DAY_S)
    first = site.upload(DATA)
    site.clock.seconds += days * DAY_S
    site.store.keep_uptime()
    site.restart()

    assert claim(site)[1] == first
    assert (reads(site) == 1) is is_read
    assert claim(site)[1] == first
    assert (reads(site) == 1) is is_read
    site.stop()


@pytest.mark.parametrize("wall_days", [-3650, 3650])
def test_a_wrong_wall_clock_makes_no_reading_younger(tmp_path, monkeypatch, wall_days):
    site = CoreSite(tmp_path / "data", scrub_s=2 * DAY_S)
    first = site.upload(DATA)
    site.restart()
    now = site.clock.now_utc() + timedelta(days=wall_days)
    monkeypatch.setattr(site.clock, "now_utc", lambda: now)

    assert claim(site)[1] == first
    assert reads(site) == 1
    site.stop()


def test_a_wall_clock_that_stands_still_makes_no_reading_younger(tmp_path, monkeypatch):
    site = CoreSite(tmp_path / "data", scrub_s=2 * DAY_S)
    now = site.clock.now_utc()
    monkeypatch.setattr(site.clock, "now_utc", lambda: now)
    first = site.upload(DATA)
    site.clock.seconds += 3 * DAY_S
    site.restart()

    assert claim(site)[1] == first
    assert reads(site) == 1
    site.stop()


def test_l3_a_disk_that_rots_without_a_trace_is_found_once_the_reading_is_old(tmp_path):
    site = CoreSite(tmp_path / "data", scrub_s=0.0)
    first = site.upload(DATA)
    rotten = rot(site, first.published_as)
    site.restart()

    with pytest.raises(Refused, match="ranges-missing"):
        claim(site)
    assert site.published() == {first.published_as: rotten}
    assert len(told(site)) == 1
    site.stop()


def test_what_verify_has_read_counts_like_what_the_server_has(tmp_path):
    site = CoreSite(tmp_path / "data", scrub_s=2 * DAY_S)
    first = site.upload(DATA)
    site.clock.seconds += 3 * DAY_S
    site.restart()
    site.store.keep_uptime()
    verify(site)

    assert claim(site)[1] == first
    assert reads(site) == 0
    site.stop()


def test_rows_of_an_older_version_are_read_on_first_need(site):
    first = site.upload(DATA)
    forget_readings(site)

    assert claim(site)[1] == first
    assert reads(site) == 1
    assert claim(site)[1] == first
    assert reads(site) == 1


def test_reading_an_earlier_file_is_pending_and_goes_on(tmp_path):
    site = CoreSite(tmp_path / "data")
    first = site.upload(DATA)
    forget_readings(site)
    site.receiver.settings = replace(site.receiver.settings, verify_wait_s=0.01)
    live = site.store.live

    with readings.taking_its_time(site.receiver.standings):
        upload, answer = claim(site)
        assert isinstance(answer, Pending)
        site.put(upload, 0, DATA[:10])  # it still takes bytes
        again = site.receiver.complete("cam", upload, CompleteRequest(len(DATA), None))
        assert isinstance(again, Pending)
        running = present(live.pin(upload).reading)

    assert running.result(10) == first
    assert site.receiver.status("cam", upload).state == "complete"
    site.stop()


def test_a_stop_ends_the_reading_of_an_earlier_file(tmp_path):
    site = CoreSite(tmp_path / "data")
    site.upload(DATA)
    forget_readings(site)
    site.blobs.fail[READ] = site.store.stopping.set

    with pytest.raises(Refused, match="stopping"):
        claim(site)
    site.stop()


def test_a_file_that_the_disk_does_not_give_back_vouches_for_nothing(site):
    first = site.upload(DATA)
    forget_readings(site)
    site.blobs.fail[READ] = failing(OSError(5, "Input/output error"))

    with pytest.raises(Refused, match="ranges-missing"):
        claim(site)
    again = site.upload(DATA)

    assert set(site.published()) == {first.published_as, again.published_as}


def test_the_same_bytes_in_two_folders_are_two_files(site):
    first = site.upload(DATA)

    upload, second = claim(site, folder="day-2")

    assert second.upload_id == upload
    assert [first.published_as, second.published_as] == [
        "cam/2026-11-21/a.mp4",
        "cam/2026-11-21/a-2.mp4",
    ]
    assert where(site, first.published_as).samefile(where(site, second.published_as))
    assert claim(site)[1] == first
    assert claim(site, folder="day-2")[1] == second
    assert reads(site) == 0
    assert not list((site.data_dir / "parts").iterdir())


def test_a_file_appears_in_no_more_folders_than_it_was_sent_for(site):
    first = site.upload(DATA)
    for number in range(2, MOST_NAMES + 1):
        claim(site, folder=f"day-{number}")
    assert len(site.published()) == MOST_NAMES

    with pytest.raises(Refused, match="ranges-missing"):
        claim(site, folder="one more")
    upload = site.create(length=len(DATA), folder="one more")
    site.put(upload, 0, DATA)

    assert site.complete(upload, DATA).published_as != first.published_as
    assert len(site.published()) == MOST_NAMES + 1
    assert claim(site)[1] == first  # where it is already, it needs no bytes


def test_bytes_sent_for_a_second_folder_are_a_file_of_their_own(site):
    first = site.upload(DATA)
    upload = site.create(length=len(DATA), folder="day-2")
    site.put(upload, 0, DATA)

    second = site.complete(upload, DATA)

    assert not where(site, first.published_as).samefile(where(site, second.published_as))


def test_a_damaged_file_is_linked_into_no_other_folder(site):
    first = site.upload(DATA)
    damage(site, first.published_as)

    with pytest.raises(Refused, match="ranges-missing"):
        claim(site, folder="day-2")
    assert len(site.published()) == 1


def test_a_crash_between_linking_and_its_row_ends_in_one_more_name(site):
    first = site.upload(DATA)
    site.blobs.fail["after folders"] = failing(OSError(5, "Input/output error"))
    with pytest.raises(Refused, match="storage-failed"):
        claim(site, folder="day-2")
    site.restart()

    _, second = claim(site, folder="day-2")

    assert set(site.published()) == {first.published_as, second.published_as}


def test_l3_a_half_published_file_that_changed_meanwhile_gets_no_receipt(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["after link"] = failing(OSError(5, "Input/output error"))
    with pytest.raises(Refused, match="storage-failed"):
        site.complete(upload, DATA)
    rotten = damage(site, "cam/2026-11-21/a.mp4")
    site.restart()

    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(upload, DATA)
    again = site.upload(DATA)

    assert site.published() == {"cam/2026-11-21/a.mp4": rotten, again.published_as: DATA}
    assert [one["path"] for one in told(site)] == ["cam/2026-11-21/a.mp4"]


def test_a_file_edited_before_the_store_was_done_with_it_is_read_first(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["before unlink"] = lambda: where(site, "cam/2026-11-21/a.mp4").write_bytes(
        DATA[::-1]
    )
    site.complete(upload, DATA)
    site.blobs.fail.clear()

    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(upload, DATA)


@pytest.mark.parametrize("is_taken_away", [True, False])
def test_what_cannot_be_vouched_for_in_the_end_is_not_remembered(site, is_taken_away):
    def meddle() -> None:
        file = where(site, "cam/2026-11-21/a.mp4")
        file.unlink() if is_taken_away else file.write_bytes(DATA[::-1])

    site.blobs.fail["before unlink"] = meddle
    site.upload(DATA)

    assert site.receiver.standings._noted == {}


def test_l3_the_part_of_a_complete_upload_is_kept_where_another_file_has_its_name(site):
    upload = site.create(length=len(DATA))
    site.put(upload, 0, DATA)
    site.blobs.fail["before unlink"] = failing(OSError(5, "Input/output error"))
    site.complete(upload, DATA)
    other = where(site, "cam/2026-11-21/a.mp4")
    other.unlink()
    other.write_bytes(DATA[::-1])  # of the same length

    site.restart()

    assert (site.data_dir / "lost+found" / f"{upload}.part").read_bytes() == DATA


def test_retention_leaves_a_file_that_somebody_edited_in_place(site):
    first = site.upload(DATA)
    edited = damage(site, first.published_as)
    site.clock.seconds += 11 * DAY_S
    site.receiver.settings = replace(site.receiver.settings, keep_published_s=10 * DAY_S)

    assert site.housekeeper.remove_old() == 0
    assert site.published() == {first.published_as: edited}


def test_nobody_waits_for_the_reading_of_another_file(site):
    first = site.upload(DATA)

    with readings.taking_its_time(site.receiver.standings):  # of another file
        assert site.upload(DATA) == first
        upload = site.create(length=len(DATA))
        site.put(upload, 0, DATA)
        assert site.complete(upload, DATA, digest=False) == first


def test_two_who_claim_a_file_at_once_have_it_read_once(site):
    first = site.upload(DATA)
    forget_readings(site)

    both = [InThread(lambda: claim(site)[1]) for _ in range(2)]

    assert [one.join() for one in both] == [first, first]
    assert reads(site) == 1


def test_what_was_published_is_noted_with_the_next_commit_and_at_a_stop(site):
    commits = site.state.commits()[0]
    first = site.upload(DATA)
    plain = site.state.commits()[0] - commits
    second = site.upload(DATA[::-1], "b.mp4")
    assert site.state.commits()[0] - commits == 2 * plain

    site.restart()

    assert claim(site)[1] == first
    assert claim(site, DATA[::-1], name="b.mp4")[1] == second
    assert reads(site) == 0


def test_what_verify_found_is_not_overwritten_by_what_was_published_before(site):
    first = site.upload(DATA)
    damage(site, first.published_as)
    verify(site)
    site.upload(DATA[::-1], "b.mp4")  # takes the note of the first along
    site.restart()

    with pytest.raises(Refused, match="upload-aborted"):
        site.complete(first.upload_id, DATA)
