"""What somebody does first on the page: open the fleet, or one device."""

from urllib.parse import quote

ROWS_SHOWN = "document.querySelectorAll('tbody tr').length"


def names(browser) -> list[str]:
    return browser.texts("tbody th a")


def open_fleet(browser, url) -> None:
    browser.goto(url)
    browser.wait(f"{ROWS_SHOWN} > 0")


def open_device(browser, url, device) -> None:
    browser.goto(f"{url}#/device/{quote(device, safe='')}")
    browser.wait("document.querySelector('.columns')?.hidden === false")
