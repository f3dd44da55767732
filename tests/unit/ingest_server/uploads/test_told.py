"""What a client is told of its upload, value by value."""

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import CoreSite
from upload_protocol.digests import Digest
from upload_protocol.messages import CreateRequest, Limits

DAY_S = 86400.0
CREATED = "2026-11-21T10:16:40Z"


def expires_at(site: CoreSite, upload: str) -> str | None:
    return site.receiver.status("cam", upload).expires_at


def test_the_status_of_a_new_upload_says_all_of_it(tmp_path):
    site = CoreSite(tmp_path, max_length=5000)
    status, is_new = site.receiver.creation.create(
        "cam", "one-key-for-this", CreateRequest("a.mp4", length=100, digest=Digest.of(b"x"))
    )

    assert is_new
    assert (status.device, status.name, status.state, status.length) == (
        "cam",
        "a.mp4",
        "open",
        100,
    )
    assert (status.received.to_pairs(), status.digest) == ([], Digest.of(b"x"))
    assert (status.limits, status.receipt) == (Limits(max_length=5000), None)
    site.stop()


def test_the_moment_of_expiry_stands_still_until_a_byte_comes(site):
    upload = site.create(length=100)
    promised = expires_at(site, upload)
    assert promised == "2026-12-05T10:16:40Z"

    site.clock.seconds += 3 * DAY_S
    assert expires_at(site, upload) == promised

    site.put(upload, 0, b"x")
    assert expires_at(site, upload) == "2026-12-08T10:16:40Z"


def test_what_the_server_slept_through_is_added_to_the_moment_of_expiry(site):
    upload = site.create(length=100)
    site.clock.seconds += DAY_S
    site.stop()
    site.clock.seconds += 5 * DAY_S

    site.start()

    assert expires_at(site, upload) == "2026-12-10T10:16:40Z"


def test_an_upload_that_should_have_expired_expires_now(site):
    upload = site.create(length=100)

    site.clock.seconds += 20 * DAY_S

    assert expires_at(site, upload) == "2026-12-11T10:16:40Z"


def test_an_upload_that_is_no_longer_needed_expires_soon_and_never_later_than_before(site):
    upload = site.create(length=100)
    site.receiver.expiry.soon("cam", upload, within_s=3600.0)
    assert expires_at(site, upload) == "2026-11-21T11:16:40Z"

    site.receiver.expiry.soon("cam", upload, within_s=7200.0)

    assert expires_at(site, upload) == "2026-11-21T11:16:40Z"
    site.clock.seconds += 3599
    assert site.receiver.expiry.sweep() == 0
    site.clock.seconds += 2
    assert site.receiver.expiry.sweep() == 1


def test_a_complete_upload_expires_never_and_is_told_with_what_it_became(site):
    receipt = site.upload(b"abc")

    status = site.receiver.status("cam", receipt.upload_id)

    assert (status.state, status.length, status.digest) == ("complete", 3, Digest.of(b"abc"))
    assert (status.expires_at, status.receipt) == (None, receipt)
    assert receipt.verified_at == CREATED


def test_an_aborted_upload_has_no_receipt_and_no_end_and_keeps_its_ranges(site):
    upload = site.create(length=10)
    site.put(upload, 2, b"xy")

    status = site.receiver.abort("cam", upload)

    assert (status.state, status.expires_at, status.receipt) == ("aborted", None, None)
    assert status.received.to_pairs() == [[2, 4]]


def test_a_whole_last_page_is_not_followed_by_an_empty_one(site):
    ids = sorted(site.create(f"{n}") for n in range(4))

    def page(after, limit):
        found, following = site.receiver.listing.page("cam", state="open", after=after, limit=limit)
        return [one.id for one in found], following

    assert page(None, 2) == (ids[:2], ids[1])
    assert page(ids[1], 2) == (ids[2:], None)
    assert page(None, 1) == (ids[:1], ids[0])
    assert page(None, 5) == (ids, None)


def test_whole_uploads_are_joined_in_their_order(site):
    parts = [site.create(f"{n}", size) for n, size in enumerate((3, 0, 4))]
    site.put(parts[0], 0, b"abc")
    site.put(parts[2], 0, b"defg")
    joined, short = site.create("whole", 7), site.create("short", 7)
    site.put(short, 0, b"abc")

    site.receiver.concatenation.fill("cam", joined, parts)

    assert site.received(joined) == [[0, 7]]
    assert site.complete(joined, b"abcdefg").length == 7
    with pytest.raises(Refused, match="ranges-missing"):
        site.receiver.concatenation.fill("cam", site.create("other", 7), [short])
    with pytest.raises(Refused, match="ranges-missing"):
        site.receiver.concatenation.fill(
            "cam", site.create("third", 7), [site.create("unknown length")]
        )
