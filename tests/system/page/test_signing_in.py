"""Who has not signed in, has no device yet, or whose server is away, is told so."""

import pytest

from tests.support.page_fleet import row
from tests.support.page_site import PageSite, serving
from tests.support.page_steps import ROWS_SHOWN, names, open_fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


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


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("#/", "tbody tr"),
        ("#/device/pi-gate-2", ".columns"),
        ("#/recordings", ".recordings > li"),
        ("#/groups", ".groups > li"),
    ],
)
def test_each_view_says_that_the_server_is_away_and_that_the_session_has_ended(
    browser, site, url, where, shown
):
    site.mode = "user"
    browser.goto(url + where)
    browser.wait(f"document.querySelector({shown!r})")

    site.is_down = True
    browser.evaluate("window.dispatchEvent(new Event('online'))")  # it asks at once
    browser.wait_text("Not connected since", "#lost")
    assert browser.text("#standing") == "not connected"
    site.mode = "none"
    site.is_down = False
    browser.click("#lost button")

    browser.wait("document.querySelector('.login')")
    assert "Your session has ended" in browser.text("#announcements")
    browser.wait("document.getElementById('lost').hidden")
    browser.type("#user", "alice")
    browser.type("#password", "correct horse")
    browser.do("press", key="Enter")
    browser.wait(f"document.querySelector({shown!r})")
