"""A real browser, in front of a fleet of a thousand devices that was never built."""

import pytest

from tests.support import page_fleet
from tests.support.browser import Browser, node_with_packages
from tests.support.page_site import PageSite, serving


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


@pytest.fixture
def site():
    return PageSite(page_fleet.rows(1000))


@pytest.fixture
def url(site):
    with serving(site) as found:
        yield found
