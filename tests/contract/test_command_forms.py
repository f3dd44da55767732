"""What the server takes from an operator, a device understands: nobody hears "on its way" of nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.command import SETTINGS, VOCABULARY, arguments, read_one
from ingest_server.fleet import command_forms
from ingest_server.fleet.command_forms import FORMS, complaint, complaint_about_settings

NAMES = sorted({name for args in VOCABULARY.values() for name in args})
TIMES = [
    "2026-11-29",
    "9999-12-31",
    "2300-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "yesterday",
]
TEXTS = st.text(max_size=4) | st.sampled_from(["\ud800", "a\nb", "x" * 201, "x" * 256, *TIMES])
NUMBERS = st.integers(-1, 1001) | st.sampled_from([2**53, 10**12, 10**12 + 1, 30 * 86_400 + 1])
QUERIES = st.dictionaries(st.sampled_from(["name", "from", "to", "path"]), st.none() | TEXTS)
VALUES = st.none() | st.booleans() | NUMBERS | st.floats() | TEXTS | QUERIES


@given(st.sampled_from(sorted(FORMS)), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3))
def test_a_device_understands_every_command_that_the_server_takes(cmd, args):
    if complaint(cmd, args) is None:
        arguments(cmd, args)  # raises where it does not


@given(st.dictionaries(st.sampled_from(sorted(SETTINGS)), VALUES))
def test_a_device_understands_every_setting_that_the_server_takes(settings):
    if complaint_about_settings(settings) is None:
        for name, value in settings.items():
            read_one(SETTINGS[name], name, value)


def test_both_know_the_same_commands_arguments_and_settings():
    assert {cmd: {*needed, *possible} for cmd, (needed, possible) in FORMS.items()} == {
        cmd: set(args) for cmd, args in VOCABULARY.items()
    }
    assert set(command_forms.SETTINGS) == set(SETTINGS)


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("fetch", {"query": {"to": "yesterday"}}),
        ("fetch", {"query": {"name": "\ud800*"}}),
        ("fetch", {"query": {"name": "", "to": "2026-11-29"}}),
        ("fetch", {"query": {"from": "2026-11-30", "to": "2026-11-29"}}),
        ("pause", {"reason": "\ud800"}),
        ("pause", {"reason": ""}),
        ("set_bandwidth", {"limit_bytes_per_s": 10**12 + 1}),
    ],
)
def test_what_no_device_would_understand_is_said_at_once(cmd, args):
    assert complaint(cmd, args) is not None


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("fetch", {"query": {"to": "9999-12-31"}}),
        ("fetch", {"query": {"from": "2026-11-29", "to": "2026-11-29"}}),
        ("set_bandwidth", {"limit_bytes_per_s": None}),
    ],
)
def test_what_a_device_understands_is_taken(cmd, args):
    assert complaint(cmd, args) is None
    arguments(cmd, args)
