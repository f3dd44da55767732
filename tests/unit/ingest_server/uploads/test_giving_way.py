"""A device whose places are held by uploads that nobody goes on with gets them back."""

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import STORES, CoreSite, new_key
from upload_protocol.messages import CreateRequest

HOUR_S = 3600.0


@pytest.fixture
def site(tmp_path):
    site = CoreSite(STORES["memory"](tmp_path), max_open_uploads_per_device=3, quota_bytes=1000)
    yield site
    site.stop()


def refusal(site: CoreSite, length: int = 1) -> Refused:
    with pytest.raises(Refused) as caught:
        site.create("new.mp4", length)
    return caught.value


def state(site: CoreSite, upload_id: str) -> str:
    return site.state.get(upload_id).state.value


def test_uploads_without_a_byte_give_way_after_an_hour_and_until_then_the_wait_is_told(site):
    old = []
    for number in range(3):
        old.append(site.create(f"{number}.mp4", 10))
        site.clock.seconds += 1

    site.clock.seconds += HOUR_S - 603
    refused = refusal(site)
    site.clock.seconds += 600
    new = site.create("new.mp4", 10)

    assert (refused.code, refused.retry_after_s) == ("too-many-requests", 600)
    assert "`ingest-server abort`; the one that is idle for longest gives way in 10 min" in (
        refused.detail
    )
    assert [state(site, one) for one in (*old, new)] == ["expired", "open", "open", "open"]


def test_one_with_bytes_goes_only_when_its_device_has_been_back_for_an_hour_without_it(site):
    old = [site.create(f"{number}.mp4", 10) for number in range(3)]
    for upload in old:
        site.clock.seconds += 1
        site.put(upload, 0, b"x" * 5)
    site.clock.seconds += 10 * 24 * HOUR_S  # out of reach

    first = refusal(site)
    site.clock.seconds += HOUR_S / 2
    site.put(old[0], 5, b"y")
    site.clock.seconds += HOUR_S / 2
    site.create("new.mp4", 10)

    assert first.retry_after_s == HOUR_S
    assert [state(site, one) for one in old] == ["open", "expired", "open"]


def test_who_comes_back_within_two_hours_each_time_was_refused_since_the_first(site):
    old = [site.create(f"{number}.mp4", 10) for number in range(3)]
    refusal(site)
    for turn in range(2):
        site.clock.seconds += 0.9 * HOUR_S
        for upload in old:
            site.put(upload, turn, b"x")
        refusal(site)
    site.clock.seconds += 0.9 * HOUR_S

    refused = refusal(site)
    site.clock.seconds += refused.retry_after_s
    site.create("new.mp4", 10)

    assert refused.retry_after_s == 0.1 * HOUR_S


def test_while_another_upload_gets_bytes_the_device_is_told_to_come_back_soon(site):
    for number in range(3):
        site.put(site.create(f"{number}.mp4", 10), 0, b"x")

    refused = refusal(site)

    assert refused.retry_after_s == 60
    assert refused.detail.endswith("others of them are going on")


def test_a_quota_that_abandoned_uploads_hold_comes_back_too(site):
    held = site.create("held.mp4", 990)
    site.put(held, 0, b"x")
    site.clock.seconds += HOUR_S

    first = refusal(site, 20)
    site.clock.seconds += HOUR_S
    site.create("new.mp4", 20)

    assert (first.code, first.retry_after_s) == ("quota-exceeded", HOUR_S)
    assert state(site, held) == "expired"


def test_none_gives_way_where_all_that_are_idle_make_no_room_together(site):
    idle = [site.create(f"{number}.mp4", 200) for number in range(2)]
    site.put(idle[0], 0, b"x")
    site.clock.seconds += HOUR_S
    refusal(site, 1000)
    site.clock.seconds += HOUR_S
    kept = site.create("kept.mp4", 500)

    refused = refusal(site, 600)

    assert (refused.code, refused.retry_after_s) == ("quota-exceeded", HOUR_S)
    assert refused.detail.endswith("the 3 that are idle for longest give way in 60 min")
    assert [state(site, one) for one in (*idle, kept)] == ["open"] * 3
    site.clock.seconds += HOUR_S
    site.create("new.mp4", 600)
    assert [state(site, one) for one in (*idle, kept)] == ["expired"] * 3


def test_what_no_quota_can_hold_takes_no_place_from_anything(site):
    held = site.create("held.mp4", 10)
    site.clock.seconds += 100 * HOUR_S

    refused = refusal(site, 1001)

    assert refused.code == "quota-exceeded"
    assert refused.detail == "1001 bytes are more than the device's quota of 1000 bytes"
    assert state(site, held) == "open"


def test_an_upload_that_grows_past_the_quota_makes_the_abandoned_one_go_and_goes_on(site):
    held = site.create("held.mp4", 990)
    growing = site.create("growing.mp4")
    site.clock.seconds += HOUR_S

    with pytest.raises(Refused) as caught:
        site.put(growing, 0, b"x" * 20)
    site.put(growing, 0, b"x" * 20)

    assert caught.value.detail.endswith("one of them has given way just now: try again")
    assert (state(site, held), state(site, growing)) == ("expired", "open")
    assert site.received(growing) == [[0, 20]]


def test_the_uploads_of_another_device_never_give_way(site):
    status, _ = site.receiver.creation.create("dog", new_key(), CreateRequest("dog.mp4", length=10))
    for number in range(3):
        site.put(site.create(f"{number}.mp4", 10), 0, b"x")
    site.clock.seconds += 100 * HOUR_S

    refusal(site)

    assert state(site, status.id) == "open"
