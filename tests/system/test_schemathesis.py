"""The live server held to its OpenAPI document, by a program that thinks up requests."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import Server

CONFIG = Path(__file__).with_name("schemathesis.toml")
# A request that fits its schema may still be refused: a Content-Range hardly ever fits the body by
# chance, a random length is past the limit, an upload aborted. That is our own tests' business.
NOT_CHECKED = "positive_data_acceptance"
BUDGET_S = 20


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_server_answers_as_its_document_says_whatever_it_is_asked(tmp_path):
    server = Server(tmp_path / "server", limits={"max_length": "1GiB"})
    server.start()
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", CONFIG, "run"),
                f"http://127.0.0.1:{server.port}/v1/openapi.json",
                *(
                    "--include-path-regex",
                    "^/(v1|livez|readyz)",
                ),  # the others' answers are not in it
                *("--header", f"Authorization: Bearer {server.new_token()}"),
                *(
                    "--checks",
                    "all",
                    "--exclude-checks",
                    NOT_CHECKED,
                    "--max-examples",
                    "30",
                    "--max-time",
                    str(BUDGET_S),
                ),
                *("--request-timeout", "10", "--seed", "1", "--no-color", "--continue-on-failure"),
            ],
            capture_output=True,
            text=True,
            timeout=BUDGET_S * 3,
            check=False,
            cwd=tmp_path,
        )
        bugs = [line for line in server.log() if line["event"] == "request.failed"]
    finally:
        server.close()

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert not bugs
