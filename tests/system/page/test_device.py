"""One device on the page: what it does, why what waits waits, and what it may be asked."""

import pytest

from tests.support.page_fleet import at, row
from tests.support.page_steps import open_device

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_device_says_what_it_does_and_why_what_waits_waits(browser, url):
    open_device(browser, url, "pi-gate-2")

    shown = browser.text()
    assert "the server refuses the token: it was revoked on 28 Nov" in shown
    assert 'Give it a new one: "ingest-server token add pi-gate-2".' in shown
    assert "31 recordings pending, 22 GB" in shown
    assert "metered: waits for wlan0" in shown
    assert "Raise [limits] max_length, then retry." in shown
    assert "Asked for: 250 kB/s. The device has not taken it yet." in shown
    browser.wait("document.querySelector('.plot polygon')")
    assert "At most 1.9 MB/s in the last 24 h, each minute as a whole" in browser.text("figure")


def test_a_button_asks_in_a_way_that_no_other_site_can_and_says_by_when_it_is_seen(
    browser, site, url
):
    site.mode = "user"
    open_device(browser, url, "drone-020")

    browser.evaluate("document.querySelector('[aria-label=\"How long to pause\"]').value = '900'")
    browser.click(".steer button:not([hidden])")
    browser.wait_text("the device will see it by", "#announcements")

    [(headers, body)] = site.posted("/commands")
    assert body == {"cmd": "pause", "args": {"for_s": 900}}
    assert headers["x-requested-with"] == "edge-uploader"
    assert headers["x-csrf-token"] == "c5f"


def test_while_the_broker_is_away_a_button_says_what_the_device_waits_for(browser, site, url):
    site.given = {"seen_by": None, "via": "mqtt"}
    open_device(browser, url, "drone-020")

    browser.click(".steer button:not([hidden])")

    browser.wait_text("the server has no way to the broker now", "#announcements")


def test_a_command_to_a_device_that_is_away_says_how_long_it_is_kept(browser, site, url):
    site.given = {"seen_by": None, "via": "server"}
    open_device(browser, url, "drone-07")

    browser.click(".steer button:not([hidden])")

    browser.wait_text("the device is away; it sees this if it is back by", "#announcements")


def test_a_command_that_has_to_wait_for_its_turn_says_for_how_many(browser, site, url):
    site.given = {
        "seen_by": None,
        "message": "after 10 others: the device takes 10 commands in a minute",
    }
    open_device(browser, url, "drone-020")

    browser.click(".steer button:not([hidden])")

    browser.wait_text("the device sees it after 10 others: the device takes", "#announcements")


def test_a_quiet_device_says_when_it_reports_again(browser, site, url):
    site.put(row("cam-1", last_seen=at(3000), next_by=at(-600)))
    open_device(browser, url, "cam-1")

    seen = browser.text(".title .seen")
    assert seen.startswith("last seen 50 min ago, reports again by ")
    assert "online" in browser.text(".title")

    site.put(row("cam-1", presence="late", last_seen=at(9000), next_by=at(5400)))
    browser.wait_text("late", ".title")
    assert browser.text(".title .seen") == "last seen 2 h 30 min ago"


def test_a_refused_command_is_a_sentence(browser, site, url):
    sentence = "drone-020 does not allow pause: its [commands] allowed has resume"
    site.refuses["fleet/devices/drone-020/commands"] = (409, sentence)
    open_device(browser, url, "drone-020")

    browser.click(".steer button:not([hidden])")

    browser.wait_text(sentence, "#announcements")


def test_a_session_that_ends_before_a_click_says_so_and_that_nothing_was_done(browser, site, url):
    site.mode = "user"
    open_device(browser, url, "drone-020")
    # The click alone meets it: the page's own next question would take the button away first.
    site.refuses["fleet/devices/drone-020/commands"] = (401, "send a token")

    browser.click(".steer button:not([hidden])")

    browser.wait_text("Pause: Your session has ended, and nothing was done", "#announcements")
    assert "token" not in browser.text("#announcements")
    site.mode = "none"
    browser.wait("document.querySelector('.login')")


def test_the_oldest_recording_of_a_device_that_is_away_grows_older(browser, site, url):
    site.put(
        row("cam-1", presence="offline", last_seen=at(86_400), pending_files=2, oldest_age_s=3600)
    )
    open_device(browser, url, "cam-1")

    assert "2 recordings pending, 0 B. The oldest has waited for 1 day 1 h." in browser.text(".now")


def test_where_a_recording_failed_nobody_says_that_everything_arrived(browser, site, url):
    site.put(row("cam-1", failed=1))
    site.put(row("cam-2"))
    open_device(browser, url, "cam-1")
    assert "has arrived" not in browser.text("main")

    open_device(browser, url, "cam-2")
    browser.wait_text("Everything that it has told of has arrived.", "main")


def test_what_a_device_does_not_allow_cannot_be_pressed_and_says_why(browser, site, url):
    open_device(browser, url, "old-cam")

    assert (
        browser.evaluate("document.querySelector('.steer button').getAttribute('aria-disabled')")
        == "true"
    )
    browser.evaluate("document.querySelector('.steer button').click()")
    browser.wait_text("[commands] allowed", "#announcements")
    assert site.posted("/commands") == []
    assert "uploads only" in browser.text(".title")


def test_who_may_only_look_cannot_press_what_steers(browser, site, url):
    site.mode, site.role = "user", "viewer"
    open_device(browser, url, "drone-020")

    browser.evaluate("document.querySelector('.steer button:not([hidden])').click()")

    browser.wait_text("You may look, and not give commands", "#announcements")
    assert browser.evaluate("document.querySelector('.setting button').hidden")
    assert site.posted("/commands") == []


@pytest.mark.parametrize("typed", ["fast", "-5", "1e99"])
def test_a_limit_that_is_none_is_refused_where_it_is_typed(browser, site, url, typed):
    open_device(browser, url, "drone-020")

    browser.type("#limit", typed)
    browser.do("press", key="Enter")

    browser.wait_text("is no rate", "#limit-said")
    assert site.posted("/commands") == []


def test_what_another_operator_wanted_meanwhile_is_said_and_what_was_typed_stays(
    browser, site, url
):
    said = "somebody has wanted other settings of drone-020 meanwhile"
    site.refuses["fleet/devices/drone-020/desired"] = (412, said)
    open_device(browser, url, "drone-020")

    browser.type("#setting-limit_bytes_per_s", "1.5 MB/s")
    browser.do("press", key="Enter")

    browser.wait_text(said, "#announcements")
    assert (
        browser.evaluate("document.querySelector('#setting-limit_bytes_per_s').value") == "1.5 MB/s"
    )


def test_a_setting_and_a_fetch_say_what_was_typed(browser, site, url):
    open_device(browser, url, "drone-020")

    browser.type("#setting-limit_bytes_per_s", "1.5 MB/s")
    browser.do("press", key="Enter")
    browser.wait_text("asked for", "#announcements")
    browser.type("#holds-q", "DJI_01")
    browser.evaluate(
        "[...document.querySelectorAll('button')].find((one) => one.innerText === 'Fetch all that fit').click()"
    )
    browser.wait_text("Fetch:", "#announcements")

    headers, body = site.posted("/desired")[0]
    assert body == {"settings": {"limit_bytes_per_s": 1_500_000}}
    assert headers["if-match"] == '"7"'
    fetched = site.posted("/commands")[0][1]
    assert (fetched["cmd"], fetched["args"]) == (
        "fetch",
        {"query": {"name": "*DJI_01*"}, "metered": False},
    )


def test_what_people_were_told_of_a_device_says_to_whom_it_came_and_what_to_do(browser, site, url):
    site.put(row("cam-1", notices=["failing", "silent"]))
    open_device(browser, url, "cam-1")

    card = browser.text("section[aria-label='What people are told']")
    for part in (
        "Failures: 3 recordings failed.",
        "told 2 h ago",
        "hooks.example.org has it.",
        "hooks.example.org is being told.",
        "pager.example.org has not received it, after 3 tries. It answered 500.",
        "the broker mqtt.example.org did not receive it, and the server gave it up.",
        'run "ingest-server webhook replay dead"',
        "Nobody takes it: set up a [[webhook]]",
        "People are told once it has been silent for 1 day, or a recording failed.",
    ):
        assert part in card
    assert "Whom it was told" not in card


def test_what_is_not_handed_on_yet_is_said_to_be_on_its_way(browser, site, url):
    site.put(row("cam-1", notices=["behind"]))
    open_device(browser, url, "cam-1")

    card = browser.text("section[aria-label='What people are told']")
    assert "Behind: the oldest of 2 recordings has waited for 3 days." in card
    assert "It is on its way." in card
    assert "Nobody takes it" not in card


def test_what_a_device_says_of_itself_that_is_no_text_is_left_out(browser, site, url):
    host = {"model": {"a": 1}, "os": ["x"], "arch": "aarch64"}
    site.told = {
        "info": {"host": host, "version": {"major": 1}},
        "files": {"pending": None, "failed": None},
        "events": [
            {"number": 2, "type": "edgeup.disk.low", "at": at(60), "event": {"data": None}},
            {
                "number": 1,
                "type": "edgeup.disk.low",
                "at": at(90),
                "event": {"time": {}, "data": {"name": {}, "detail": {}, "length": {}}},
            },
        ],
    }
    open_device(browser, url, "drone-020")

    said = browser.text("section[aria-label='Link and device']")
    assert "Device\naarch64" in said
    assert "[object" not in browser.text("main")


def test_a_device_that_nobody_knows_is_a_sentence(browser, url):
    browser.goto(f"{url}#/device/nobody")

    browser.wait_text("The server knows no device of this name", "main")


def test_a_device_that_is_forgotten_meanwhile_says_nothing_old_and_is_shown_when_it_reports(
    browser, site, url
):
    open_device(browser, url, "pi-gate-2")
    known = site.rows.pop("pi-gate-2")
    browser.wait_text("The server knows no device of this name", "main")
    assert "last seen" not in browser.text("main")
    assert "the server refuses" not in browser.text("main").lower()

    site.rows["pi-gate-2"] = known
    browser.wait("document.querySelector('.columns')?.hidden === false")

    assert "last seen" in browser.text(".title")
