"""Create, expire, list: the life of an upload around its bytes."""

from typing import Any

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import CoreSite, HangingBody, InThread, on_disk
from upload_protocol.messages import CreateRequest

DAY_S = 86400.0


@on_disk
def test_the_same_key_finds_the_same_upload(site):
    request = CreateRequest("a.mp4", length=10)

    first, made = site.receiver.creation.create("cam", "one-key-for-this", request)
    again, made_again = site.receiver.creation.create("cam", "one-key-for-this", request)
    other, _ = site.receiver.creation.create("dog", "one-key-for-this", request)

    assert (made, made_again) == (True, False)
    assert first.id == again.id != other.id
    assert len(list((site.data_dir / "parts").iterdir())) == 2


@pytest.mark.parametrize(
    "other", [CreateRequest("b.mp4", length=10), CreateRequest("a.mp4", length=11)]
)
def test_a_key_used_for_another_file_is_refused(site, other):
    site.receiver.creation.create("cam", "one-key-for-this", CreateRequest("a.mp4", length=10))

    with pytest.raises(Refused, match="idempotency-key-reused"):
        site.receiver.creation.create("cam", "one-key-for-this", other)


def test_a_repeated_create_is_the_same_after_the_length_was_learned(site):
    request = CreateRequest("a.mp4", length=None)
    first, _ = site.receiver.creation.create("cam", "one-key-for-this", request)
    site.put(first.id, 0, b"x", total=10)

    assert site.receiver.creation.create("cam", "one-key-for-this", request)[0].id == first.id


@on_disk
def test_creates_of_one_key_at_once_make_one_upload(site):
    request = CreateRequest("a.mp4", length=10)

    creates = [
        InThread(lambda: site.receiver.creation.create("cam", "one-key-for-this", request))
        for _ in range(8)
    ]
    results = [create.join() for create in creates]

    assert len({status.id for status, _ in results}) == 1
    assert [made for _, made in results].count(True) == 1
    assert len(list((site.data_dir / "parts").iterdir())) == 1


def test_too_many_open_uploads_are_refused_per_device(tmp_path):
    site = CoreSite(tmp_path, max_open_uploads_per_device=2)
    first = site.create()
    site.create()

    with pytest.raises(Refused, match="too-many-requests"):
        site.create()
    site.receiver.creation.create("dog", "one-key-for-this", CreateRequest("a"))
    site.receiver.abort("cam", first)
    site.create()

    assert len(list((tmp_path / "parts").iterdir())) == 3
    site.stop()


@on_disk
def test_an_upload_without_a_byte_for_too_long_expires(site):
    upload = site.create(length=100)
    site.put(upload, 0, b"x")
    site.clock.seconds += 14 * DAY_S - 1
    assert site.receiver.expiry.sweep() == 0

    site.clock.seconds += 2
    assert site.receiver.expiry.sweep() == 1

    for call in (
        lambda: site.put(upload, 1, b"x"),
        lambda: site.receiver.status("cam", upload),
        lambda: site.complete(upload, b"x" * 100),
        lambda: site.receiver.abort("cam", upload),
    ):
        with pytest.raises(Refused, match="upload-expired"):
            call()
    assert not list((site.data_dir / "parts").iterdir())


def test_a_byte_starts_the_time_anew(site):
    upload = site.create(length=100)
    site.clock.seconds += 13 * DAY_S
    site.put(upload, 0, b"x")
    site.clock.seconds += 13 * DAY_S

    assert site.receiver.expiry.sweep() == 0


def test_time_counts_only_while_the_server_runs(site):
    upload = site.create(length=100)
    site.clock.seconds += 13 * DAY_S
    site.stop()
    site.clock.seconds += 400 * DAY_S

    site.start()

    assert site.receiver.expiry.sweep() == 0
    site.clock.seconds += 2 * DAY_S
    assert site.receiver.expiry.sweep() == 1
    with pytest.raises(Refused, match="upload-expired"):
        site.receiver.status("cam", upload)


def test_a_slow_upload_that_is_there_is_never_expired(site):
    upload = site.create(length=100)
    body = HangingBody(b"x")
    slow = InThread(lambda: site.put(upload, 0, b"", stop=100, body=body))
    assert body.silent.wait(10)
    site.clock.seconds += 100 * DAY_S

    assert site.receiver.expiry.sweep() == 0

    body.interrupt()
    with pytest.raises(Refused, match="body-truncated"):
        slow.join()


def test_expired_is_durable_before_the_bytes_go(site):
    upload = site.create(length=100)
    site.clock.seconds += 100 * DAY_S
    states = []

    def look() -> None:
        states.append(site.state.get(upload).state)

    site.blobs.fail["before unlink"] = look
    site.receiver.expiry.sweep()

    assert states == ["expired"]


def test_an_upload_that_gets_a_byte_while_others_expire_does_not(site):
    uploads = [site.create(f"{n}", length=100) for n in range(2)]
    site.clock.seconds += 100 * DAY_S
    revived: list[Any] = []

    def revive_the_other() -> None:
        if not revived:
            [alive] = site.receiver.listing.page("cam", state="open", after=None, limit=9)[0]
            revived.append(alive.id)
            site.put(alive.id, 0, b"x")

    site.blobs.fail["before unlink"] = revive_the_other

    assert site.receiver.expiry.sweep() == 1
    assert revived[0] in uploads
    assert site.put(revived[0], 1, b"y").received.to_pairs() == [[0, 2]]


def test_after_thirty_more_days_an_expired_upload_is_unknown(site):
    upload = site.create(length=100)
    site.clock.seconds += 15 * DAY_S
    site.receiver.expiry.sweep()
    site.clock.seconds += 31 * DAY_S
    site.receiver.expiry.sweep()

    with pytest.raises(Refused, match="upload-not-found"):
        site.receiver.status("cam", upload)


def test_a_status_tells_when_it_will_expire(site):
    upload = site.create(length=100)

    assert site.receiver.status("cam", upload).expires_at == "2026-12-05T10:16:40Z"


def test_listing_is_paged_and_by_device_and_state(site):
    ids = sorted(site.create(f"{n}") for n in range(5))
    site.receiver.creation.create("dog", "one-key-for-this", CreateRequest("a"))
    site.receiver.abort("cam", ids[0])

    first, after = site.receiver.listing.page("cam", state="open", after=None, limit=3)
    rest, end = site.receiver.listing.page("cam", state="open", after=after, limit=3)

    assert [one.id for one in first + rest] == ids[1:]
    assert end is None
    assert len(site.receiver.listing.page(None, state=None, after=None, limit=99)[0]) == 6


def test_readiness_names_a_dead_database(tmp_path):
    site = CoreSite(tmp_path)
    assert site.readiness() == []

    site.stop()

    assert site.readiness() == ["database", "storage"]
    with pytest.raises(Refused, match="stopping"):
        site.create()
    site.stop()
