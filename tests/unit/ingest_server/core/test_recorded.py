"""When a recording was made, where its device's clock can be believed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.core.recorded import as_rfc3339, recorded_at

CREATED = "2026-11-21T10:00:00Z"


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("2026-11-20T23:30:00Z", datetime(2026, 11, 20, 23, 30, tzinfo=UTC)),
        ("2026-11-21T01:30:00+02:00", datetime(2026, 11, 20, 23, 30, tzinfo=UTC)),
        ("2026-11-20T23:30:00.250Z", datetime(2026, 11, 20, 23, 30, 0, 250_000, tzinfo=UTC)),
        ("2026-11-20T23:30:00", datetime(2026, 11, 20, 23, 30, tzinfo=UTC)),
        ("2026-11-22T09:00:00Z", datetime(2026, 11, 22, 9, tzinfo=UTC)),  # a clock a day ahead
    ],
)
def test_a_time_that_can_be_right_is_believed(said, means):
    assert recorded_at(said, CREATED) == means


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "yesterday",
        "1970-01-01T00:00:07Z",
        "1980-01-06T00:00:00Z",
        "2000-01-01T12:00:00Z",
        "2026-11-23T10:00:00Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "2026-13-40T99:99:99Z",
    ],
)
def test_a_time_that_cannot_be_right_is_none(said):
    assert recorded_at(said, CREATED) is None


def test_a_server_that_was_never_told_the_time_calls_no_device_ahead():
    assert recorded_at("2026-11-20T23:30:00Z", "1970-01-01T00:01:00Z") is not None


@pytest.mark.parametrize(
    "text",
    [
        "1732145400",
        "1732145400.0",
        "1732145400000",
        "Wed, 20 Nov 2024 23:30:00 GMT",
        "Wed, 20 Nov 2024 18:30:00 -0500",
        "2024-11-20T23:30:00Z",
    ],
)
def test_a_time_is_read_in_every_form_that_programs_write(text):
    assert as_rfc3339(text) == "2024-11-20T23:30:00+00:00"


def test_milliseconds_that_could_be_a_date_are_milliseconds():
    assert as_rfc3339("1712010112345") == "2024-04-01T22:21:52.345000+00:00"


@given(st.text())
def test_whatever_is_said_is_a_time_or_none(text):
    found = as_rfc3339(text)
    if found is not None:
        datetime.fromisoformat(found)
    recorded_at(text, text)
