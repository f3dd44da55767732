"""A reading of a published file counts for so many days by any clock, and then the file is read again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.pending import Pending
from tests.support import readings
from tests.support.core_site import CoreSite, InThread
from tests.support.faulty_blobs import failing
from tests.support.present import present
from tests.support.standing import (
    DATA,
    DAY_S,
    READ,
    claim,
    damage,
    forget_readings,
    reads,
    rot,
    told,
    verify,
)
from upload_protocol.messages import CompleteRequest


@pytest.fixture
def site(tmp_path):
    """What somebody does to a published file, he does to a file."""
    site = CoreSite(tmp_path / "data")
    yield site
    site.stop()


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
