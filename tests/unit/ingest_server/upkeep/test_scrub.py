"""Published files that are not what their receipts say are found and set apart."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest

from ingest_server.base.observer import Observer
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.upkeep.scrub import Fault, Report, Scrub, Watcher
from ingest_server.upkeep.scrub_text import Bar
from tests.support.core_site import CoreSite, HandClock


def scrub(site: CoreSite, watcher: Watcher = lambda _report, _path: None, **how: bool) -> Report:
    blobs, report = FileBlobs(site.data_dir), Report()
    blobs.look()
    try:
        Scrub(site.state, blobs, site.clock, **how).run(watcher, report)
    finally:
        blobs.close()
    return report


def flip_a_bit(site: CoreSite, published_as: str) -> bytes:
    path = site.data_dir / "published" / published_as
    rotten = bytearray(path.read_bytes())
    rotten[len(rotten) // 2] ^= 1
    path.write_bytes(rotten)
    return bytes(rotten)


def told(site: CoreSite) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection:
        rows = connection.execute("SELECT data FROM events WHERE type = 'ingest.file.corrupted'")
        return [json.loads(row[0]) for row in rows]


def test_files_that_are_as_received_stay_and_are_counted(site):
    for name in ("a.mp4", "b.mp4"):
        site.upload(name.encode() * 1000, name)

    report = scrub(site)

    assert (report.files, report.intact, report.findings) == (2, 2, [])
    assert report.is_whole
    assert not report.has_faults
    assert report.length_done == report.length == 10_000
    assert len(site.published()) == 2


def test_L3_one_flipped_bit_at_rest_is_found_told_and_set_apart(site):
    receipt = site.upload(b"hello" * 1000)
    rotten = flip_a_bit(site, receipt.published_as)

    [finding] = scrub(site).findings

    assert finding.verdict is Fault.CORRUPT
    assert finding.quarantined_as == f"quarantine/{receipt.published_as}"
    assert (site.data_dir / finding.quarantined_as).read_bytes() == rotten
    assert site.published() == {}
    [event] = told(site)
    assert event["upload_id"] == receipt.upload_id
    assert event["quarantined_as"] == finding.quarantined_as


def test_whoever_watches_hears_of_each_file_that_is_done_and_of_a_corrupt_one_once_that_is_kept(
    site,
):
    sound, rotten = (site.upload(b"hello" * 1000, name) for name in ("a.mp4", "b.mp4"))
    flip_a_bit(site, rotten.published_as)
    (site.data_dir / "published" / "mine.txt").write_text("notes")
    heard = []

    def watcher(report: Report, path: str) -> None:
        heard.append((path, report.files_done, len(report.findings), len(told(site))))

    scrub(site, watcher)

    done = list(dict.fromkeys(one for one in heard if one[1:] != (0, 0, 0)))
    assert (sound.published_as, 1, 0, 0) in done
    assert (rotten.published_as, 2, 1, 1) in done
    assert done[-1] == ("mine.txt", 2, 2, 1)


def test_what_was_set_apart_is_said_to_be_there_the_next_time(site):
    flip_a_bit(site, site.upload(b"hello" * 1000).published_as)
    scrub(site)

    report = scrub(site)

    assert [one.detail for one in report.findings] == ["it is in quarantine"]
    assert not report.has_faults


def test_a_device_that_still_has_it_publishes_it_anew(site):
    receipt = site.upload(b"hello" * 1000)
    flip_a_bit(site, receipt.published_as)
    scrub(site)

    again = site.upload(b"hello" * 1000)

    assert site.published() == {again.published_as: b"hello" * 1000}
    assert scrub(site).intact == 1


def test_one_path_gone_bad_twice_fills_two_places_in_quarantine(site):
    for _ in range(2):
        flip_a_bit(site, site.upload(b"hello" * 1000).published_as)
        scrub(site)

    held = [path.name for path in (site.data_dir / "quarantine").rglob("*") if path.is_file()]

    assert sorted(held) == ["a-2.mp4", "a.mp4"]


def test_a_file_of_another_length_is_corrupt_too(site):
    receipt = site.upload(b"hello" * 1000)
    os.truncate(site.data_dir / "published" / receipt.published_as, 10)

    [finding] = scrub(site).findings

    assert "10 bytes instead of 5000" in finding.detail


def test_a_file_that_somebody_moved_away_is_no_fault(site):
    receipt = site.upload(b"hello")
    (site.data_dir / "published" / receipt.published_as).unlink()

    report = scrub(site)

    assert [one.verdict for one in report.findings] == [Fault.MISSING]
    assert not report.has_faults
    assert told(site) == []


def test_a_link_planted_in_place_of_a_file_is_not_followed(site, tmp_path):
    receipt = site.upload(b"hello")
    outside = tmp_path / "outside"
    outside.write_bytes(b"hello")
    path = site.data_dir / "published" / receipt.published_as
    path.unlink()
    path.symlink_to(outside)

    report = scrub(site)

    assert [one.verdict for one in report.findings] == [Fault.UNREADABLE]
    assert report.has_faults
    assert outside.read_bytes() == b"hello"


def test_a_file_that_nobody_uploaded_is_named_and_left(site):
    (site.data_dir / "published" / "mine.txt").write_text("notes")

    report = scrub(site)

    assert [(one.path, one.verdict) for one in report.findings] == [("mine.txt", Fault.UNKNOWN)]
    assert not report.has_faults
    assert "mine.txt" in site.published()


def test_corrupt_files_stay_where_they_are_if_that_is_asked_for(site):
    receipt = site.upload(b"hello" * 1000)
    rotten = flip_a_bit(site, receipt.published_as)

    [finding] = scrub(site, sets_apart=False).findings

    assert finding.quarantined_as is None
    assert site.published() == {receipt.published_as: rotten}


def test_a_crash_between_the_two_names_loses_nothing_and_is_told_again(site, monkeypatch):
    receipt = site.upload(b"hello" * 1000)
    rotten = flip_a_bit(site, receipt.published_as)

    class PowerCut(BaseException):
        pass

    def cut(*_args):
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(FileBlobs, "withdraw", cut)
        with pytest.raises(PowerCut):
            scrub(site)

    assert site.published() == {receipt.published_as: rotten}
    [finding] = scrub(site).findings
    assert (site.data_dir / finding.quarantined_as).read_bytes() == rotten
    assert site.published() == {}


def test_what_was_published_under_a_name_that_came_free_meanwhile_stays(site):
    first, second = (site.upload(name.encode() * 1000, name) for name in ("a.mp4", "b.mp4"))
    blobs, report = FileBlobs(site.data_dir), Report()
    anew: list[Any] = []

    def replace_the_second(_report, path):
        if path == first.published_as and not anew:
            (site.data_dir / "published" / second.published_as).unlink()
            anew.append(site.upload(b"another" * 1000, "b.mp4"))

    blobs.look()
    Scrub(site.state, blobs, site.clock).run(replace_the_second, report)
    blobs.close()

    assert [one.published_as for one in anew] == [second.published_as]
    assert (report.findings, told(site)) == ([], [])
    assert site.published()[second.published_as] == b"another" * 1000


def test_what_has_the_name_of_a_rotten_file_by_the_time_that_was_read_stays(site):
    receipt = site.upload(b"hello" * 1000)
    flip_a_bit(site, receipt.published_as)
    blobs, report = FileBlobs(site.data_dir), Report()
    anew: list[Any] = []

    def replace_it(_report, path):
        if not anew:
            (site.data_dir / "published" / path).unlink()
            anew.append(site.upload(b"hello" * 1000))

    blobs.look()
    Scrub(site.state, blobs, site.clock).run(replace_it, report)
    blobs.close()

    assert [(one.verdict, one.quarantined_as) for one in report.findings] == [
        (Fault.UNREADABLE, None)
    ]
    assert site.published() == {receipt.published_as: b"hello" * 1000}
    assert scrub(site).findings == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_share_rate_and_what_is_left():
    clock, terminal = HandClock(), Terminal()
    bar = Bar(terminal, clock.now_s, str)
    clock.seconds += 2

    bar(Report(files=2, length=400_000_000, length_done=100_000_000), "cam/a.mp4")

    line = terminal.getvalue()
    assert " 25 % [######" in line
    assert "100.0 MB of 400.0 MB, 50.0 MB/s, 0:06 left" in line
    assert line.endswith("cam/a.mp4")


def test_no_bar_moves_in_a_file():
    clock, file = HandClock(), io.StringIO()
    Bar(file, clock.now_s, str)(Report(length=10, length_done=5), "a")

    assert file.getvalue() == ""


def verify(site: CoreSite, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ingest_server", "verify", "--data-dir", str(site.data_dir)]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.slow
def test_the_command_verifies_beside_a_running_server(site):
    receipt = site.upload(b"hello" * 1000)

    clean = verify(site)

    assert clean.returncode == 0, clean.stderr
    assert clean.stdout == "1 of 1 published files are intact (5.0 kB read).\n"

    flip_a_bit(site, receipt.published_as)
    found = verify(site, "--json")

    assert found.returncode == 1
    [finding] = json.loads(found.stdout)["findings"]
    assert finding["verdict"] == "corrupt"
    assert finding["quarantined_as"] == f"quarantine/{receipt.published_as}"
    assert "moved to quarantine/" in found.stderr


@pytest.mark.slow
def test_a_folder_without_a_server_is_one_sentence(site, tmp_path):
    site.stop()
    (tmp_path / "empty").mkdir()
    site.data_dir = tmp_path / "empty"

    found = verify(site)

    assert found.returncode == 1
    assert "nothing was ever stored" in found.stderr
    assert "Traceback" not in found.stderr


class Counting(Observer):
    def __init__(self) -> None:
        self.scopes: list[str] = []

    def digest_mismatched(self, scope: str) -> None:
        self.scopes.append(scope)


@pytest.mark.slow
def test_a_running_server_counts_what_the_command_finds_once(site):
    site.observer = counting = Counting()
    site.restart()
    flip_a_bit(site, site.upload(b"hello" * 1000).published_as)
    verify(site)

    assert [site.housekeeper.count_rot(), site.housekeeper.count_rot()] == [1, 0]
    assert counting.scopes == ["at_rest"]

    site.restart()

    assert site.housekeeper.count_rot() == 0
