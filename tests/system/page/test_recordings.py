"""Recordings on the page: found, shown and taken, alone and in groups."""

import json
import subprocess

import pytest

from tests.support import page_fleet
from tests.support.page_fleet import NAMES_THAT_BITE
from tests.support.processes import wait_for
from tests.support.requirements import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ASK_NOW = "window.dispatchEvent(new Event('online'))"
"""A page asks at once when the network is back; else it is ten seconds."""


def arrived(name):
    return {**page_fleet.recordings(1)[0], "upload_id": "f" * 32, "name": name}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:d=2"]
    options = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    subprocess.run(
        [require("ffmpeg"), "-v", "error", *source, *options, path], check=True, timeout=60
    )
    return path.read_bytes()


def test_a_recording_is_found_shown_and_taken(browser, site, url, video):
    site.videos = [video]
    browser.goto(f"{url}#/recordings")
    browser.wait("document.querySelectorAll('.thumb canvas').length > 1")
    said = browser.text(".recordings")
    assert "h264,aac · 3840x2160 · +48.1374+011.5755" in said
    assert "cut short: its recorder did not come to close it" in said
    assert NAMES_THAT_BITE[0] in said, "what a device told is text"
    assert "recorded \u2013" not in said, "what cannot be read is left out"

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


def test_what_arrives_is_there_without_a_reload_and_what_is_read_stays(browser, site, url):
    browser.goto(f"{url}#/recordings")
    browser.wait("document.querySelectorAll('.recordings > li').length === 20")
    browser.click(".page > button")
    browser.wait_text("23 recordings, newest first.", ".summary")
    browser.click(".recordings summary")
    browser.wait_text('"verified_against": "client"', ".recordings pre")
    browser.click("h1")  # the pointer is elsewhere

    site.recordings.insert(0, arrived("DJI_NEW.MP4"))
    browser.evaluate(ASK_NOW)

    browser.wait_text("DJI_NEW.MP4", ".recordings > li:first-child")
    assert browser.text(".summary") == "24 recordings, newest first."
    assert browser.evaluate("document.querySelectorAll('.recordings details[open]').length") == 1


def test_a_list_that_is_left_open_stays_one_page(browser, site, url):
    browser.goto(f"{url}#/recordings")
    browser.wait_text("20 recordings so far", ".summary")

    for n in range(3):
        name = f"DJI_NEW_{n}.MP4"
        site.recordings.insert(0, {**arrived(name), "upload_id": f"{n:032x}"})
        browser.evaluate(ASK_NOW)
        browser.wait_text(name, ".recordings > li:first-child")

    assert browser.text(".summary") == "20 recordings so far, newest first."
    assert browser.evaluate("document.querySelectorAll('.recordings > li').length") == 20


def test_while_something_else_is_looked_for_there_is_no_more_to_show(browser, site, url):
    browser.goto(f"{url}#/recordings")
    browser.wait("document.querySelector('.page > button')?.checkVisibility()")

    # In one turn: no answer can have come.
    is_offered = browser.evaluate(
        "document.querySelector('.filter').requestSubmit(), document.querySelector('.page > button').checkVisibility()"
    )

    assert not is_offered
    browser.wait_text("20 recordings so far", ".summary")


def test_an_answer_of_somebody_else_takes_nothing_away_and_it_is_asked_again(browser, site, url):
    browser.goto(f"{url}#/recordings")
    browser.wait_text("20 recordings so far", ".summary")

    site.instead["fleet/recordings"] = {"hello": "proxy"}
    browser.evaluate(ASK_NOW)
    browser.wait_text("This page cannot read the answer: reload the page.", "#lost")
    assert browser.evaluate("document.querySelectorAll('.recordings > li').length") == 20
    assert browser.text("#standing") == "not connected"
    browser.click(".page > button")
    browser.wait_text("This page cannot read the answer: reload the page.", ".summary")

    site.instead.clear()
    browser.evaluate(ASK_NOW)
    browser.wait("document.querySelector('#lost').hidden")
    browser.wait_text("20 recordings so far", ".summary")
    assert browser.complaints(), "who looks for the fault finds it in the console"
    browser.do("fresh")


def test_no_recording_moves_away_under_the_pointer(browser, site, url):
    browser.goto(f"{url}#/recordings")
    browser.wait("document.querySelectorAll('.recordings > li').length === 20")
    browser.evaluate(
        "document.querySelector('.recordings').dispatchEvent(new Event('pointermove'))"
    )

    site.recordings.insert(0, arrived("DJI_NEW.MP4"))
    before = len(site.asked)
    browser.evaluate(ASK_NOW)
    wait_for(lambda: len(site.asked) > before, "the page asks")
    browser.wait("document.querySelector('#standing').dataset.tone === 'good'")
    assert "DJI_0001.MP4" in browser.text(".recordings > li:first-child")
    browser.evaluate(
        "document.querySelector('.recordings').dispatchEvent(new Event('pointerleave'))"
    )

    browser.wait_text("DJI_NEW.MP4", ".recordings > li:first-child")


def test_a_group_that_goes_on_is_shown_so_and_its_files_stay_open(browser, site, url):
    browser.goto(url + "#/groups")
    browser.wait("document.querySelectorAll('.groups > li').length === 3")
    browser.evaluate("document.querySelectorAll('.groups summary')[1].click()")
    browser.wait("document.querySelectorAll('.members li').length === 3")

    group = site.groups[1]
    last = {
        **group["members"][2],
        **{key: group["members"][1][key] for key in ("upload_id", "verified_at")},
    }
    site.groups[1] = {
        **group,
        "done": 3,
        "state": "complete",
        "members": [*group["members"][:2], last],
    }
    browser.evaluate(ASK_NOW)

    browser.wait_text("complete, 3 files", ".groups > li:nth-child(2)")
    browser.wait("document.querySelectorAll('.members a.button').length === 3")


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
