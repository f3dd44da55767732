"""The live server held to its OpenAPI document, by a program that thinks up requests."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ingest_server.auth.authentication import SCOPE_ADMIN
from tests.support.fleet import info, report
from tests.support.processes import DEVICE, Server
from tests.support.secured import upload

CONFIG = Path(__file__).with_name("schemathesis.toml")
# A request that fits its schema may still be refused: a Content-Range hardly ever fits the body by
# chance, a random length is past the limit, an upload aborted. That is our own tests' business.
NOT_CHECKED = "positive_data_acceptance"
BUDGET_S = 10
KEPT = """
[[operations]]
include-name = "DELETE /v1/fleet/devices/{device}"
parameters = { "path.device" = "another" }
"""
"""The one that all else is asked about is not to be forgotten meanwhile."""


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path / "server", limits={"max_length": "1GiB"})
    made.start()
    yield made
    made.close()


def hold_to_the_document(
    server,
    folder,
    paths,
    *headers,
    config=CONFIG,
    examples=30,
    budget,
    more=(),
):
    """Ask for all *paths*; fails where an answer is none of those in the document."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run"),
            f"http://127.0.0.1:{server.port}/v1/openapi.json",
            *("--include-path-regex", paths),
            *(part for one in headers for part in ("--header", one)),
            *("--checks", "all", "--exclude-checks", NOT_CHECKED),
            *("--max-examples", str(examples), *budget),
            *("--request-timeout", "10", "--seed", "1", "--no-color", "--continue-on-failure"),
            *more,
        ],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert not [line for line in server.log() if line["event"] == "request.failed"]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("budget_s", [BUDGET_S, pytest.param(60, marks=pytest.mark.nightly)])
def test_the_server_answers_as_its_document_says_whatever_it_is_asked(server, tmp_path, budget_s):
    hold_to_the_document(
        server,
        tmp_path,
        "^/(v1|livez|readyz)",  # the others' answers are not in it
        f"Authorization: Bearer {server.new_token()}",
        budget=("--max-time", str(budget_s)),
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_operator_is_answered_as_the_document_says_about_a_device_that_is_there(
    server, tmp_path
):
    with httpx.Client(
        base_url=f"http://127.0.0.1:{server.port}",
        headers={"Authorization": f"Bearer {server.new_token()}"},
        trust_env=False,
    ) as device:
        device.post("/v1/report", json=report(info=info())).raise_for_status()
        recording = upload(device)["upload_id"]
    config = tmp_path / "operator.toml"
    there = f'"path.device" = "{DEVICE}"\n"path.upload_id" = "{recording}"\n'
    config.write_text(f"[parameters]\n{there}{CONFIG.read_text()}{KEPT}")
    token = server.new_token("operator", SCOPE_ADMIN)

    said = hold_to_the_document(
        server,
        tmp_path,
        "^/v1/(fleet|session)",
        f"Authorization: Bearer {token}",
        "X-Requested-With: edge-uploader",
        config=config,
        examples=3,
        budget=(),  # the number of examples is one
        more=("--phases", "coverage,fuzzing"),
    )

    assert "36 passed" in said  # each of these routes
