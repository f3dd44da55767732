"""The page for who cannot see well, has a small window, or no mouse; and nothing is asked of others."""

import pytest

from tests.support.page_fleet import at, row
from tests.support.page_site import PageSite, serving
from tests.support.page_steps import ROWS_SHOWN, open_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


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


def test_no_column_of_the_table_is_cut_at_the_edge_of_a_window(browser, url):
    browser.goto(url)
    browser.wait(f"{ROWS_SHOWN} > 10")
    cut = "(() => { const box = document.querySelector('.scroller'); return box.scrollWidth - box.clientWidth })()"

    for width in (320, 701, 768, 881, 1024, 1086, 1200, 1276, 1920):
        browser.do("viewport", width=width, height=780)
        assert (width, browser.evaluate(cut)) == (width, 0)
        by_select = browser.evaluate("document.querySelector('#order').checkVisibility()")
        heads = browser.texts("thead th button")
        assert by_select or "Version" in heads, "each column sorts at any width"


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("where", ["#/", "#/device/pi-1"])
def test_one_word_without_an_end_makes_nothing_wider_than_the_window(
    browser, site, url, width, where
):
    word = "x" * 2000
    mean = row(
        "pi-1",
        state=word,
        blocked_by=word,
        blocked_detail=word,
        problems=[word],
        trouble=999,
        pending_files=2**53,
    )
    mean["link"] = {"iface": word, "metered": True, "rtt_ms": 1e12}
    for one in list(site.rows):
        del site.rows[one]
    mean["stuck"] = {"why": word, "do": word, "since": at(99)}
    site.put({**mean, "version": word, "current": {"name": word, "percent": 1e308}})
    browser.do("viewport", width=width, height=780)
    browser.goto(url + where)
    browser.wait_text(word, "main")

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
