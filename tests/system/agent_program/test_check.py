"""``edge-agent check`` says that all is well, or what is wrong and how to mend it."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.support.agent_program import PROGRAM, run
from tests.support.processes import DEVICE, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_check_says_that_all_is_well(agent):
    done = run(agent, "check")

    assert done.returncode == 0, done.stdout
    assert f"knows this device as {DEVICE}" in done.stdout
    assert "FAIL" not in done.stdout


def test_check_keeps_to_the_owners_rate_and_gives_up_what_it_makes(agent, server, token):
    listed = server.run("list", "--state", "aborted").count("edge-agent-check")

    done = run(
        agent, "check", "--set", "upload.max_rate=400KB", "--set", "upload.request_seconds=2"
    )

    assert done.returncode == 0, done.stdout
    assert "requests: one of 800.0 kB got through" in done.stdout
    assert done.stdout.count("requests:") == 1  # more would take longer than a request may
    assert server.open_uploads(token) == {}
    # One for the requests, and one for the folder: whether that goes straight to a store.
    assert server.run("list", "--state", "aborted").count("edge-agent-check") == listed + 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_check_that_is_broken_off_leaves_no_open_upload_on_the_server(agent, server, token, number):
    command = [*PROGRAM, "check", "--config", str(agent.config), "--set", "upload.max_rate=20KB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as check:
        wait_for(lambda: server.open_uploads(token), "its upload is begun")
        check.send_signal(number)
        assert check.stdout is not None
        said = check.stdout.read()

    assert check.returncode == 130
    assert "requests: one of 262.1 kB is tried at 20.0 kB/s: that takes 13 s" in said
    assert server.open_uploads(token) == {}


def test_check_says_what_is_wrong_and_how_to_mend_it(agent, tmp_path):
    agent.configure(
        watch={"folder": tmp_path / "absent"},
        server={"url": "http://127.0.0.1:9"},
        retention={"delete": "after_verified"},
    )

    done = run(agent, "check")

    failures = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert done.returncode == 1
    assert any("create it" in line for line in failures)
    assert any("server: http://127.0.0.1:9" in line for line in failures)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:1", "that the server runs"),
        ("https://127.0.0.1:{port}", "http:// instead of https://"),
        ("http://no-such-host.invalid", "check the host's name"),
    ],
)
def test_check_says_what_to_do_about_a_server_that_does_not_answer(agent, server, url, advice):
    done = run(agent, "check", "--set", f"server.url={url.format(port=server.port)}")

    assert done.returncode == 1
    (line,) = [one for one in done.stdout.splitlines() if one.startswith("FAIL")]
    assert advice in line


def test_check_says_how_to_get_a_token_that_is_taken(agent, tmp_path):
    (tmp_path / "token").write_text("no-token-of-this-server\n")
    (tmp_path / "token").chmod(0o600)

    done = run(agent, "check", "--set", f"server.token_file={tmp_path / 'token'}")

    assert done.returncode == 1
    assert "ingest-server token add" in done.stdout


def test_check_tells_another_devices_token(agent, server):
    agent.config.write_text(agent.config.read_text().replace(DEVICE, "drone-2"))

    done = run(agent, "check")

    assert done.returncode == 1
    assert f'set device_id = "{DEVICE}"' in done.stdout
    assert agent.token not in done.stdout + done.stderr
