"""The table of a thousand devices: the worst first, what happens at once, sorted and searched."""

import pytest

from tests.support.page_fleet import NAMES_THAT_BITE, row, uploading
from tests.support.page_site import PageSite, serving
from tests.support.page_steps import ROWS_SHOWN, names, open_device, open_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_a_thousand_devices_are_there_with_the_worst_first_and_what_to_do(browser, url):
    open_fleet(browser, url)

    assert names(browser)[:3] == ["drone-07", "pi-gate-2", NAMES_THAT_BITE[0]]
    assert "1,000 devices" in browser.text(".summary")
    glance = browser.text(".glance")
    assert "3 devices need attention" in glance
    assert "ingest-server token add pi-gate-2" in glance
    assert len(names(browser)) == 50
    assert browser.evaluate("performance.now() < 5000")


def test_a_fleet_that_is_well_says_so_in_one_sentence(browser):
    with serving(PageSite([row(f"pi-{n}") for n in range(3)])) as url:
        open_fleet(browser, url)

        assert "Nothing is stuck" in browser.text(".glance")
        assert "everything reported has arrived" in browser.text(".glance")


def test_what_people_were_told_is_seen_in_the_glance_in_the_row_and_alone(browser, site, url):
    open_fleet(browser, url)
    site.put({**site.rows["pi-gate-2"], "notices": []})
    browser.wait("document.querySelector('.glance .told').hidden")

    site.put(row("cam-1", notices=["silent"]))
    browser.wait_text(
        "People were told of 1 device. For 1 device, there is nobody to tell", ".glance"
    )
    site.put(row("cam-2", notices=["failing"], failed=3, trouble=64))
    browser.wait_text("pager.example.org has not received all of it: it answered 500.", ".glance")
    browser.wait_text(
        "the broker mqtt.example.org did not receive 1 event, which the server gave up: no answer. Repair that target, then run "
        '"ingest-server webhook replay dead".',
        ".glance",
    )
    assert "people told" in browser.text("tbody tr:has(a[href$='cam-2'])")

    browser.click(".glance .told a")

    browser.wait(f"{ROWS_SHOWN} === 2")
    assert names(browser) == ["cam-2", "cam-1"]
    assert "of which people were told" in browser.text(".summary")


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
