"""Recordings of the real server in a real browser: what plays is read in parts, and nothing in one of them runs."""

import subprocess

import pytest

from tests.support.browser import Browser, node_with_packages
from tests.support.requirements import require
from tests.support.secured import secured, upload

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

RUN = "fetch('/it-ran');new Image().src='/it-ran';document.title='it ran';parent.postMessage('it ran','*')"
HTML = f'<!doctype html><title>x</title><img src=/it-ran onerror="{RUN}"><script>{RUN}</script>'
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg>'
PROGRAMS = {
    "page.html": HTML,
    "picture.svg": SVG,
    "page.html.mp4": HTML,
    "picture.svg.png": SVG,
}


@pytest.fixture
def browser():
    found = Browser(node_with_packages())
    yield found
    found.close()


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, auth={"mode": "open"}) as found:
        yield found


def content(site, receipt) -> str:
    return f"{site.server.url}/v1/fleet/recordings/{receipt['upload_id']}/content"


def test_a_page_or_a_drawing_that_was_uploaded_runs_nowhere(browser, site):
    receipts = {
        name: upload(site.client(), program.encode(), name=name, device="evil")
        for name, program in PROGRAMS.items()
    }
    browser.goto(f"{site.server.url}/#/recordings")
    browser.wait(f"document.querySelectorAll('.recordings > li').length === {len(PROGRAMS)}")
    playable = browser.evaluate(
        "[...document.querySelectorAll('.recordings .actions button')].map((one) => one.ariaLabel)"
    )
    assert sorted(playable) == ["Play: page.html.mp4", "Play: picture.svg.png"]

    for label in playable:
        browser.click(f"[aria-label='{label}']:not(.thumb)")
        browser.wait_text("This browser cannot show it.", "dialog")
        browser.do("press", key="Escape")
        browser.wait("document.querySelector('dialog') === null")
    for name in receipts:
        browser.click(f"[aria-label='Download: {name}']")
    before = browser.evaluate("location.href")
    for name, receipt in receipts.items():
        for ways in ("", "?download=1"):
            # As a link leads there, as another page embeds it, and as somebody opens it.
            url = content(site, receipt) + ways
            for tag, at in (
                ("iframe", "src"),
                ("embed", "src"),
                ("object", "data"),
                ("img", "src"),
            ):
                browser.evaluate(
                    f"new Promise((done) => {{ const one = document.createElement('{tag}'); one.onload = one.onerror = done;"
                    f" one.{at} = '{url}'; document.body.append(one); setTimeout(done, 300) }}).then(() => 1)"
                )
            browser.evaluate(f"void (location.href = '{url}')")
            browser.wait("document.readyState === 'complete'")
            if ways or name in ("page.html", "picture.svg"):
                assert browser.evaluate("location.href") == before, "it is taken, and not opened"
            assert browser.evaluate("document.title") != "it ran"
            browser.goto(before)
            browser.wait("document.querySelector('.recordings > li')")

    asked = browser.do("asks")
    assert any(one.endswith("/content") for one in asked)
    assert not [one for one in asked if one.endswith("/it-ran")]


@pytest.mark.nightly
def test_the_player_reads_a_long_recording_in_parts_and_goes_to_its_end_at_once(
    browser, site, tmp_path
):
    path = tmp_path / "long.mp4"
    # Its index is at its end, as recorders write it; noise, so that it is no small file.
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:d=60", "-c:v", "libx264", "-preset"]
    options = ["ultrafast", "-pix_fmt", "yuv420p", "-g", "30", "-b:v", "4M", "-minrate", "4M"]
    filled = ["-maxrate", "4M", "-bufsize", "2M", "-x264-params", "nal-hrd=cbr"]
    command = [require("ffmpeg"), "-v", "error", *source, *options, *filled, path]
    subprocess.run(command, check=True, timeout=60)
    upload(site.client(), path.read_bytes(), name="long.mp4", device="drone-1")

    browser.goto(f"{site.server.url}/#/recordings")
    browser.click(".recordings .actions button")
    browser.wait("document.querySelector('dialog video')?.readyState >= 2")
    browser.evaluate("void (document.querySelector('dialog video').currentTime = 58)")
    browser.wait(
        "!document.querySelector('dialog video').seeking && document.querySelector('dialog video').currentTime >= 58"
    )

    length = path.stat().st_size
    assert length > 20_000_000
    answers = [one for one in browser.do("answers") if one["url"].endswith("/content")]
    assert {one["status"] for one in answers} <= {206, 304}, "never the whole at once"
    parts = [one for one in answers if one["status"] == 206]
    starts = [int(one["range"].removeprefix("bytes ").partition("-")[0]) for one in parts]
    assert starts[0] == 0
    assert any(start > length // 2 for start in starts)
    assert browser.evaluate("document.querySelector('dialog .said').innerText") == ""
