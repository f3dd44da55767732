"""The page in a real browser, in front of the real server with real agents."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.children import Child
from tests.support.browser import Browser, node_with_packages
from tests.support.processes import DEVICE, Agent, Server, wait_for
from tests.support.requirements import require
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

KB = 1000
PASSWORD = "a horse and its battery"
ROWS_SHOWN = "document.querySelectorAll('tbody tr').length"


@pytest.fixture
def browser():
    found = Browser(node_with_packages())
    found.do("viewport", width=1280, height=860)
    yield found
    complaints = found.complaints()
    found.close()
    assert complaints == []


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "server")
    subprocess.run(
        [sys.executable, "-m", "ingest_server", "user", "add", "alice", "--config", made.config],
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        timeout=30,
    )
    made.start()
    yield made
    made.close()


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.port}/"


@pytest.fixture
def agent(tmp_path, server):
    made = Agent(
        tmp_path / "agent",
        url=f"http://127.0.0.1:{server.port}",
        token=server.new_token(),
        reports={"interval_seconds": 5},
    )
    yield made
    made.close()


@pytest.fixture
def bad_link(server):
    """250 kB/s for each connection, and now and then nothing at all."""
    with SlowLink(server.port, bytes_per_s=250 * KB) as link:
        yield link


def sign_in(browser, url) -> None:
    browser.goto(url)
    browser.wait("document.querySelector('.login')")
    browser.type("#user", "alice")
    browser.type("#password", PASSWORD)
    browser.do("press", key="Enter")
    browser.wait("document.querySelector('.login') === null")


def open_device(browser, url) -> None:
    browser.goto(f"{url}#/device/{DEVICE}")
    browser.wait("document.querySelector('.columns')?.hidden === false")


def press(browser, word: str) -> None:
    """Press the button that says so and can be seen."""
    browser.evaluate(
        f"[...document.querySelectorAll('button')].find((one) => one.innerText === {json.dumps(word)}"
        " && one.checkVisibility()).click()"
    )


def record(agent, name: str, length: int) -> None:
    (agent.media / name).write_bytes(os.urandom(length))


def video(path: Path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc2=s=320x180:d=2"]
    options = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    command: list[str | Path] = [require("ffmpeg"), "-v", "error", *source, *options, path]
    subprocess.run(command, check=True, timeout=60)


def test_the_three_commands_of_the_page_bring_the_first_device(browser, server, url, tmp_path):
    sign_in(browser, url)
    browser.wait("document.querySelectorAll('.steps pre').length === 3")
    commands = browser.texts(".steps pre")
    media = tmp_path / "camera"
    media.mkdir()
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    home = {**os.environ, "HOME": str(tmp_path), "PATH": beside}

    def run(command: str, **more: Any) -> str:
        shell = ["bash", "-c", command]
        done = subprocess.run(
            shell, env=home, check=True, capture_output=True, text=True, timeout=30, **more
        )
        return done.stdout

    token = run(f"{commands[0]} --config {server.config}").splitlines()[-1]
    run(commands[1], input=f"{token}\n")
    shell = ["env", f"HOME={tmp_path}", f"PATH={beside}", "bash", "-c"]
    third = commands[2].replace("/media/camera", str(media))
    agent = Child("agent", [*shell, f"exec {third}"], tmp_path / "agent.log")
    try:
        video(media / "DJI_0001.MP4")
        browser.wait(f"{ROWS_SHOWN} === 1")
        browser.wait_text("drone-01", "tbody")
        wait_for(server.published_files, "the recording arrives")
    finally:
        agent.kill()

    browser.goto(f"{url}#/recordings")
    browser.wait_text("DJI_0001.MP4", ".recordings")
    browser.wait("document.querySelector('.thumb canvas')")
    assert browser.violations() == []


def test_pause_holds_a_device_back_and_says_so_until_it_is_resumed(browser, server, url, agent):
    def arrived(name):
        return any(one.name == name for one in server.published_files())

    agent.start()
    sign_in(browser, url)
    browser.wait(f"{ROWS_SHOWN} === 1")
    open_device(browser, url)

    press(browser, "Pause")
    browser.wait_text("the device will see it by", "#announcements")
    record(agent, "REC_0000.mp4", 50 * KB)  # which is told, and the answer brings what waits
    browser.wait_text("done", ".commands li:first-child .badge")
    browser.wait_text("paused", ".now")
    record(agent, "REC_0001.mp4", 50 * KB)
    agent.wait_until_blocked_by("paused")
    assert not arrived("REC_0001.mp4")

    browser.wait(
        "[...document.querySelectorAll('button')].some((one) => one.innerText === 'Resume' && one.checkVisibility())"
    )
    press(browser, "Resume")
    record(agent, "REC_0002.mp4", 50 * KB)
    wait_for(lambda: arrived("REC_0001.mp4"), "the recording arrives")
    browser.wait_text("Nothing is pending.", ".now")
    assert browser.violations() == []


@pytest.mark.nightly
def test_a_recording_that_failed_is_tried_again_from_the_page_and_arrives(
    browser, server, url, agent
):
    allowed = server.config.read_text()
    server.stop()
    server.config.write_text(allowed.replace("[limits]", "[limits]\nmax_length = '40KB'"))
    server.start()
    agent.start()
    sign_in(browser, url)
    record(agent, "REC_0001.mp4", 50 * KB)
    browser.wait(f"{ROWS_SHOWN} === 1")
    open_device(browser, url)
    failed = "section[aria-label='Failed']"
    browser.wait_text("REC_0001.mp4", failed)
    assert "[limits] max_length" in browser.text(failed)

    server.stop()
    server.config.write_text(allowed)
    server.start()
    browser.wait("document.querySelector('#lost').hidden")
    press(browser, "Retry")
    browser.wait_text("Retry: the device will see it by", "#announcements")
    record(agent, "REC_0002.mp4", 10 * KB)  # which is told, and the answer brings what waits

    wait_for(lambda: len(server.published_files()) == 2, "both arrive")
    browser.wait_text("done", ".commands li:first-child .badge")
    browser.wait(f'!document.querySelector("{failed}").checkVisibility()')
    browser.wait_text("Nothing is pending.", ".now")


def test_over_a_bad_link_the_page_shows_what_was_acknowledged_and_that_it_arrived(
    browser, server, url, agent, bad_link
):
    agent.configure(server={"url": bad_link.url}, upload={"min_request": "64KiB"})
    agent.start()
    sign_in(browser, url)
    browser.wait(f"{ROWS_SHOWN} === 1")
    record(agent, "DJI_0042.MP4", 12_000 * KB)
    open_device(browser, url)

    browser.wait_text("DJI_0042.MP4", ".now")
    browser.wait("document.querySelector('.now progress').value > 0")
    acknowledged = browser.evaluate("document.querySelector('.now progress').value")
    bad_link.fall_silent()
    bad_link.break_all()
    bad_link.speak_again()
    browser.wait(
        f"document.querySelector('.now progress').value > {acknowledged} || document.querySelector('.now .current').hidden"
    )
    wait_for(server.published_files, "the recording arrives", 90.0)

    browser.wait_text("Nothing is pending.", ".now")
    assert "live" in browser.text("#standing")


def test_a_server_that_was_killed_is_told_of_and_found_again(browser, server, url, agent):
    agent.start()
    sign_in(browser, url)
    browser.wait(f"{ROWS_SHOWN} === 1")

    server.kill()
    browser.wait("!document.getElementById('lost').hidden")
    assert "Not connected since" in browser.text("#lost")
    server.start()

    browser.wait("document.getElementById('lost').hidden")
    browser.wait_text(DEVICE, "tbody")


@pytest.mark.nightly
def test_a_recording_behind_a_bad_link_is_fetched_from_the_page_and_plays_there(
    browser, server, url, agent, bad_link, tmp_path
):
    token = server.new_token("pi-2")
    other = Agent(
        tmp_path / "other", url=url.rstrip("/"), token=token, reports={"interval_seconds": 5}
    )
    other.configure(**{"": {"device_id": "pi-2"}})
    agent.configure(server={"url": bad_link.url}, **{"[link]": {"match": "lo", "min_priority": 10}})
    try:
        video(agent.media / "DJI_0042.MP4")
        agent.start()
        other.start()
        sign_in(browser, url)
        browser.wait(f"{ROWS_SHOWN} === 2")
        record(other, "REC_0001.mp4", 50 * KB)
        open_device(browser, url)
        held = "section[aria-label='What it holds']"

        def is_listed() -> bool:
            browser.evaluate(f'document.querySelector("{held} form").requestSubmit()')
            return "DJI_0042.MP4" in browser.text(held)

        wait_for(is_listed, "it is listed", every_s=0.5)
        assert [one.name for one in server.published_files()] in ([], ["REC_0001.mp4"])

        press(browser, "Fetch")
        browser.wait_text("the device will see it by", "#announcements")
        (agent.media / "1.tmp").touch()  # which is told, and the answer brings what waits
        wait_for(lambda: len(server.published_files()) == 2, "both arrive", 90.0)
        browser.wait_text("done", ".commands li:first-child .badge")
    finally:
        other.close()

    browser.goto(f"{url}#/recordings")
    browser.wait_text("DJI_0042.MP4", ".recordings")
    browser.wait("document.querySelector('.thumb canvas')")
    browser.click("[aria-label='Play DJI_0042.MP4']")
    browser.wait("document.querySelector('video')?.readyState >= 2")
