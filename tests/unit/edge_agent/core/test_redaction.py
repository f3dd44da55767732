"""Lines of a log that leave the device: no secret does, and what is no secret stays readable."""

import json

import pytest

from edge_agent.core.redaction import redacted

TOKEN = 'e0u_Zm9vYmFy"+/x'


@pytest.mark.parametrize(
    "line",
    [
        f"refused: {TOKEN}",
        json.dumps({"error": f"said {TOKEN} twice: {TOKEN}"}),
        'header "Authorization: Bearer abc.def-123"',
        "curl -u basic QWxhZGRpbjpvcGVu",
        "proxy http://user:s3cr3t@proxy:3128/",
        '{"password":"s3cr3t"}',
        '{"mqtt_password": "s3cr\\"3t"}',
        "GET /x?token=s3cr3t&a=b",
    ],
)
def test_secrets_are_gone(line):
    said = redacted(line, [TOKEN])

    assert "[redacted]" in said
    for word in (TOKEN, json.dumps(TOKEN)[1:-1], "abc.def", "QWxh", "s3cr"):
        assert word not in said


@pytest.mark.parametrize("written", [str, json.dumps], ids=["as it is", "in a document"])
def test_a_known_secret_is_gone_to_its_last_character_and_nothing_beside_it(written):
    said = redacted(written(f"a {TOKEN} b {TOKEN}."), [TOKEN])

    assert said == written("a [redacted] b [redacted].")


def test_what_is_no_secret_stays():
    line = '{"event":"upload.verified","path":"/media/a.mp4","server":"https://ingest:443/x"}'

    assert redacted(line, [TOKEN, "", "https"]) == line
