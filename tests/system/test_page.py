"""The page in a real browser, in front of a fleet of a thousand devices that was never built."""

import json
import subprocess
from urllib.parse import quote

import pytest

from tests.support import page_fleet
from tests.support.browser import Browser, node_with_packages
from tests.support.page_fleet import NAMES_THAT_BITE, at, row, uploading
from tests.support.page_site import PageSite, serving
from tests.support.requirements import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROWS_SHOWN = "document.querySelectorAll('tbody tr').length"


@pytest.fixture(scope="module")
def one_browser():
    browser = Browser(node_with_packages())
    yield browser
    browser.close()


@pytest.fixture
def browser(one_browser):
    """A page that nobody has used, in a window of a desk."""
    one_browser.do("fresh")
    one_browser.do("viewport", width=1280, height=860)
    one_browser.do("scheme", value="light")
    yield one_browser
    assert one_browser.complaints() == []


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:d=2"]
    options = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    subprocess.run(
        [require("ffmpeg"), "-v", "error", *source, *options, path], check=True, timeout=60
    )
    return path.read_bytes()


@pytest.fixture
def site():
    return PageSite(page_fleet.rows(1000))


@pytest.fixture
def url(site):
    with serving(site) as found:
        yield found


def names(browser) -> list[str]:
    return browser.texts("tbody th a")


def open_fleet(browser, url) -> None:
    browser.goto(url)
    browser.wait(f"{ROWS_SHOWN} > 0")


def open_device(browser, url, device) -> None:
    browser.goto(f"{url}#/device/{quote(device, safe='')}")
    browser.wait("document.querySelector('.columns')?.hidden === false")


# the fleet


def test_a_thousand_devices_are_there_with_the_worst_first_and_what_to_do(browser, url):
    open_fleet(browser, url)

    assert names(browser)[:3] == ["drone-07", "pi-gate-2", NAMES_THAT_BITE[0]]
    assert "1,000 devices" in browser.text(".summary")
    glance = browser.text(".glance")
    assert "3 devices need somebody" in glance
    assert "ingest-server token add pi-gate-2" in glance
    assert len(names(browser)) == 50
    assert browser.evaluate("performance.now() < 5000")


def test_a_fleet_that_is_well_says_so_in_one_sentence(browser):
    with serving(PageSite([row(f"pi-{n}") for n in range(3)])) as url:
        open_fleet(browser, url)

        assert "Nothing is stuck" in browser.text(".glance")
        assert "everything that was told of has arrived" in browser.text(".glance")


def test_a_name_is_shown_as_it_is_whatever_is_in_it(browser, site, url):
    site.put(
        {
            **uploading("evil"),
            "current": {"name": "<script>alert(2)</script>\u202egpj", "percent": 5},
        }
    )
    open_fleet(browser, url)

    shown = names(browser)
    assert set(NAMES_THAT_BITE[:4]) <= set(shown)
    assert browser.evaluate("document.querySelectorAll('main img, main script').length") == 0
    for name in NAMES_THAT_BITE:
        open_device(browser, url, name)
        assert browser.text("h1") == name


def test_what_happens_is_there_within_two_questions_without_a_reload(browser, site, url):
    open_fleet(browser, url)

    site.put(row("drone-999-new", failed=7, trouble=200, problems=["source_io"]))
    browser.wait_text("drone-999-new", "tbody tr:first-child")

    first = browser.text("tbody tr:first-child")
    assert "source io" in first
    assert "1,001 devices" in browser.text(".summary")
    asked = [path for _, path, _, _ in site.asked if path == "fleet"]
    assert len(asked) >= 2


def test_only_what_has_changed_is_asked_for(browser, site, url):
    open_fleet(browser, url)

    browser.wait(
        "performance.getEntriesByType('resource').filter((one) => one.name.includes('since=')).length > 1"
    )

    assert browser.evaluate(
        "performance.getEntriesByType('resource').filter((one) => one.name.endsWith('v1/fleet')).length"
    ) == 1  # fmt: skip


def test_any_column_sorts_both_ways_and_says_so(browser, url):
    open_fleet(browser, url)

    browser.click("th.c-device button, thead th:nth-child(1) button")
    ascending = names(browser)
    browser.click("thead th:nth-child(1) button")

    assert ascending != names(browser)
    assert (
        browser.evaluate("document.querySelector('[aria-sort]').getAttribute('aria-sort')")
        == "descending"
    )
    browser.do("reload")
    browser.wait(f"{ROWS_SHOWN} > 0")
    assert (
        browser.evaluate("document.querySelector('[aria-sort]').getAttribute('aria-sort')")
        == "descending"
    )


def test_a_search_finds_a_device_by_name_state_and_problem(browser, url):
    open_fleet(browser, url)

    browser.type("#search", "طائرة")
    assert names(browser) == [NAMES_THAT_BITE[0]]
    browser.evaluate("document.querySelector('#search').value = ''")
    browser.type("#search", "auth_failed blocked")
    assert names(browser) == ["pi-gate-2"]


def test_a_figure_shows_the_devices_that_it_counts(browser, url):
    open_fleet(browser, url)

    browser.click("li:nth-child(2) > .tile")

    assert names(browser) == [NAMES_THAT_BITE[0]]
    assert "1 of 1,000 devices, late" in browser.text(".summary")


def test_back_leads_back_to_the_same_list(browser, url):
    open_fleet(browser, url)
    browser.type("#search", "pi-gate")
    browser.click("tbody th a")
    browser.wait_text("pi-gate-2", "h1")

    browser.do("back")

    browser.wait(f"{ROWS_SHOWN} === 1")
    assert browser.evaluate("document.querySelector('#search').value") == "pi-gate"


# a device


def test_a_device_says_what_it_does_and_why_what_waits_waits(browser, url):
    open_device(browser, url, "pi-gate-2")

    shown = browser.text()
    assert "the server refuses the token: it was revoked on 28 Nov" in shown
    assert "Give it a new one" in shown
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


def test_a_refused_command_is_a_sentence(browser, site, url):
    sentence = "drone-020 does not allow pause: its [commands] allowed has resume"
    site.refuses["fleet/devices/drone-020/commands"] = (409, sentence)
    open_device(browser, url, "drone-020")

    browser.click(".steer button:not([hidden])")

    browser.wait_text(sentence, "#announcements")


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

    browser.wait_text("You may look and not steer", "#announcements")
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


def test_a_device_that_nobody_knows_is_a_sentence(browser, url):
    browser.goto(f"{url}#/device/nobody")

    browser.wait_text("The server knows no device of this name", "main")


# recordings


def test_a_recording_is_found_shown_and_taken(browser, site, url, video):
    site.videos = [video]
    browser.goto(f"{url}#/recordings")
    browser.wait("document.querySelectorAll('.thumb canvas').length > 1")
    said = browser.text(".recordings")
    assert "h264,aac · 3840x2160 · +48.1374+011.5755" in said
    assert "cut short: its recorder did not come to close it" in said
    assert NAMES_THAT_BITE[0] in said, "what a device told is text"

    browser.type("#device", "pi-gate-2")
    browser.do("press", key="Enter")
    browser.wait_text("8 recordings", ".summary")
    browser.click(".recordings .actions button")
    browser.wait("document.querySelector('dialog video')?.readyState >= 2")
    browser.do("press", key="Escape")

    browser.wait("document.querySelector('dialog') === null")
    link = browser.evaluate("document.querySelector('.recordings a.button').href")
    assert link.endswith("/content?download=1")
    assert "device=pi-gate-2" in browser.evaluate("location.hash")


def test_a_recording_that_is_gone_is_told_with_the_words_of_the_server(browser, site, url):
    path = f"fleet/recordings/{site.recordings[0]['upload_id']}/content"
    site.refuses[path] = (410, "the recording was moved away from published/")
    browser.goto(f"{url}#/recordings")
    browser.wait("document.querySelector('.recordings a.button')")

    browser.click(".recordings a.button")
    browser.wait_text("The recording was moved away from published/.", "#announcements")
    browser.click(".recordings .actions button")

    browser.wait_text("The recording was moved away from published/.", "dialog")


def test_a_receipt_is_read_when_it_is_opened(browser, url):
    browser.goto(f"{url}#/recordings")
    browser.wait("document.querySelector('.recordings details')")

    browser.click(".recordings summary")

    browser.wait_text('"verified_against": "client"', ".recordings pre")
    shown = json.loads(browser.text(".recordings pre"))
    assert shown["name"] == "DJI_0001.MP4"


# signing in, being alone, and a server that is away


def test_nobody_sees_a_device_before_they_have_signed_in(browser, site, url):
    site.mode = "none"
    browser.goto(f"{url}#/device/pi-gate-2")
    browser.wait("document.querySelector('.login')")

    browser.type("#user", "alice")
    browser.type("#password", "wrong")
    browser.do("press", key="Enter")
    browser.wait_text("The user or the password is wrong.", ".login")
    assert browser.evaluate("document.querySelector('.login pre').textContent").splitlines() == [
        "ingest-server user add NAME",
        "ingest-server user password NAME",
    ]
    browser.type("#password", "correct horse")
    browser.do("press", key="Enter")

    browser.wait_text("pi-gate-2", "h1")
    site.mode = "none"
    browser.wait_text("Your session has ended", "#announcements")
    browser.wait("document.querySelector('.login')")


def test_a_newcomer_is_told_the_three_commands_and_sees_the_device_arrive(browser):
    site = PageSite()
    with serving(site) as url:
        browser.goto(url)
        browser.wait("document.querySelectorAll('.steps pre').length === 3")

        assert "ingest-server claim add" in browser.text(".steps li:nth-child(1)")
        assert f"--server-url {url.rstrip('/')}" in browser.text(".steps li:nth-child(3)")

        site.put(row("drone-01"))
        browser.wait(f"{ROWS_SHOWN} === 1")


def test_a_server_that_is_away_is_told_with_what_it_means_until_it_is_back(browser, site, url):
    open_fleet(browser, url)

    site.is_down = True
    browser.wait("!document.getElementById('lost').hidden")
    said = browser.text("#lost")
    assert "Not connected since" in said
    assert "The devices keep their recordings and go on by themselves." in said
    assert "Next try in" in said
    assert len(names(browser)) == 50

    site.is_down = False
    site.put(row("drone-999-new", trouble=200))
    browser.click("#lost button")
    browser.wait("document.getElementById('lost').hidden")
    browser.wait_text("drone-999-new", "tbody tr:first-child")


# recordings that belong together


def test_a_group_says_how_much_of_it_is_here_and_shows_its_files_when_it_is_opened(browser, url):
    browser.goto(url + "#/groups")
    browser.wait("document.querySelectorAll('.groups > li').length === 3")

    assert "complete, 3 files" in browser.text(".groups > li:first-child")
    assert "2 of 3 files here" in browser.text(".groups > li:last-child")
    browser.evaluate("document.querySelectorAll('.groups summary')[2].click()")
    browser.wait(
        "document.querySelectorAll('.groups > li')[2].querySelectorAll('.members li').length === 3"
    )
    files = browser.evaluate("document.querySelectorAll('.groups > li')[2].innerText")
    assert "GX020008.MP4\n\nmissing: the recorder wrote it" in files
    assert NAMES_THAT_BITE[0] in files


def test_only_groups_that_are_not_complete_are_shown_where_that_is_asked_for(browser, url):
    browser.goto(url + "#/groups?state=open")

    browser.wait("document.querySelectorAll('.groups > li').length === 2")
    assert browser.evaluate("document.querySelector('#state').value") == "open"


# who cannot see well, has a small window, or no mouse


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("#/", f"{ROWS_SHOWN} > 10"),
        ("#/device/pi-gate-2", "document.querySelector('.plot polygon')"),
        ("#/device/old-cam", "document.querySelector('.columns')?.hidden === false"),
        ("#/recordings", "document.querySelector('.recordings li')"),
        ("#/groups", "document.querySelectorAll('.groups > li').length === 3"),
    ],
)
def test_axe_finds_nothing_wrong_and_nothing_is_wider_than_the_window(
    browser, url, where, shown, width, scheme
):
    browser.do("viewport", width=width, height=780)
    browser.do("scheme", value=scheme)
    browser.goto(url + where)
    browser.wait(shown)

    assert browser.violations() == []
    assert browser.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("mode", ["open", "none"])
def test_axe_finds_nothing_wrong_where_there_is_nothing_yet(browser, width, mode):
    browser.do("viewport", width=width, height=780)
    with serving(PageSite(mode=mode)) as url:
        browser.goto(url)
        browser.wait("document.querySelector('.first, .login')")

        assert browser.violations() == []
        assert browser.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_a_device_is_reached_with_the_keyboard_alone(browser, url):
    open_fleet(browser, url)
    browser.evaluate("document.querySelector('#search').focus()")

    for _ in range(40):
        browser.do("press", key="Tab")
        if browser.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    browser.do("press", key="Enter")

    browser.wait_text("drone-07", "h1")
    assert browser.evaluate("document.activeElement.id") == "view"


def test_the_focus_stays_where_it_is_while_rows_move(browser, site, url):
    open_fleet(browser, url)
    browser.evaluate(
        "[...document.querySelectorAll('tbody a')].find((one) => one.innerText === 'pi-mast').focus()"
    )

    site.put({**site.rows["pi-mast"], "trouble": 300})
    browser.wait_text("pi-mast", "tbody tr:first-child")

    assert browser.evaluate("document.activeElement.innerText") == "pi-mast"


def test_the_chosen_theme_is_there_after_a_reload(browser, url):
    open_fleet(browser, url)

    browser.evaluate(
        "(() => { const box = document.getElementById('theme'); box.value = 'dark'; box.dispatchEvent(new Event('change')) })()"
    )
    browser.do("reload")

    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 20)"


def test_nothing_is_asked_of_another_server(browser, url):
    open_fleet(browser, url)

    assert [one for one in browser.do("asks") if not one.startswith(url)] == []


def test_the_table_does_not_jump_when_figures_change(browser, site, url):
    open_fleet(browser, url)
    place = "JSON.stringify([...document.querySelectorAll('thead th, .tile')].map((one) => one.getBoundingClientRect().left))"
    before = browser.evaluate(place)

    site.put(
        {**site.rows["drone-020"], "last_seen": at(0), "rate_bytes_per_s": 999_000, "eta_s": 7}
    )
    browser.wait(
        "performance.getEntriesByType('resource').filter((one) => one.name.includes('since=')).length > 1"
    )

    assert browser.evaluate(place) == before
