"""How long a person waits in front of the page of a fleet: measured in Chromium, by the page's own clock."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from demo.ports import LOOPBACK
from tests.support.browser import Browser, node_with_packages
from tests.support.processes import Server

HEAD = "| first view in Chromium s | again, from its cache | sorted by a column ms | searched ms |"
ROUNDS = 5
PASSWORD = "a password of a benchmark"  # of a server that lives for minutes
_ROWS = 50
"""On the first page of the table."""

_WATCH = f"""
window.addEventListener('DOMContentLoaded', () => {{
  const look = () => {{
    if (document.querySelectorAll('tbody tr').length < {_ROWS}) return requestAnimationFrame(look)
    requestAnimationFrame(() => setTimeout(() => {{ window.firstViewMs = performance.now() }}))
  }}
  look()
}})
"""
"""Notes when the rows were painted, counted from the beginning of the navigation."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Medians of what a person waited for."""

    first_s: float
    again_s: float
    sort_ms: float
    search_ms: float

    def __str__(self) -> str:
        return f"| {self.first_s:.2f} | {self.again_s:.2f} | {self.sort_ms:.0f} | {self.search_ms:.0f} |"


def add_user(server: Server) -> None:
    """Let a person sign in."""
    program = [sys.executable, "-m", "ingest_server", "user", "add", "alice"]
    subprocess.run(
        [*program, "--config", server.config],
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        capture_output=True,
    )


def measure(server: Server) -> Waits:
    """Look at the fleet as somebody who is signed in does."""
    url = f"http://{LOOPBACK}:{server.port}/"
    with _browser() as browser:
        browser.do("viewport", width=1280, height=860)
        browser.goto(url)
        browser.wait("document.querySelector('#user')")
        browser.type("#user", "alice")
        browser.type("#password", PASSWORD)
        browser.do("press", key="Enter")
        browser.wait(f"document.querySelectorAll('tbody tr').length === {_ROWS}")
        first, again = [], []
        for _ in range(ROUNDS):
            browser.do("fresh")  # another tab: it keeps the session, and nothing of the page
            browser.do("viewport", width=1280, height=860)
            browser.do("cache", on=False)
            first.append(_view_s(browser, url))
            browser.do("cache", on=True)
            _view_s(browser, url)
            again.append(_view_s(browser, url))
        sorts = [
            _took_ms(browser, "document.querySelector('thead th:nth-child(2) button').click()")
        ]
        sorts += [
            _took_ms(
                browser, f"document.querySelector('thead th:nth-child({column}) button').click()"
            )
            for column in (3, 4, 9, 1, 1)
        ]
        searches = [_took_ms(browser, _typed(text)) for text in ("7", "77", "device 7", "x", "")]
    return Waits(
        statistics.median(first),
        statistics.median(again),
        statistics.median(sorts),
        statistics.median(searches),
    )


@contextmanager
def _browser() -> Iterator[Browser]:
    made = Browser(node_with_packages())
    try:
        yield made
    finally:
        made.close()


def _view_s(browser: Browser, url: str) -> float:
    browser.do("onEachDocument", code=_WATCH)
    browser.goto(url)
    browser.wait("window.firstViewMs > 0")
    return float(browser.evaluate("window.firstViewMs")) / 1000


def _typed(text: str) -> str:
    return (
        "(() => { const box = document.querySelector('#search'); box.value = '" + text + "'; "
        "box.dispatchEvent(new Event('input')) })()"
    )


def _took_ms(browser: Browser, code: str) -> float:
    """Return how long it took until what *code* does was painted."""
    return float(
        browser.evaluate(
            "new Promise((done) => { const began = performance.now(); "
            + code
            + "; requestAnimationFrame(() => setTimeout(() => done(performance.now() - began))) })"
        )
    )
