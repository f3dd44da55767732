"""What is found on the device itself, in one sentence each."""

from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.base import certificate_dates
from edge_agent.base.certificate_dates import Validity
from edge_agent.operate.checks.device import check_certificate

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days_before", "days_left", "level", "said"),
    [
        (10, 80, "OK", "good until 2027-02-09"),
        (80, 10, "WARN", "expires at 2026-12-01"),
        (80, -1, "FAIL", "expired at 2026-11-20 00:00 UTC: renew it"),
        (-1, 90, "FAIL", "set the clock of this device"),
        (1, 3, "OK", "good until"),  # of a short life on purpose
        (3, 1, "WARN", "expires at"),
    ],
)
def test_a_certificate_of_this_device_is_looked_at(
    tmp_path, monkeypatch, days_before, days_left, level, said
):
    good = Validity(NOW - timedelta(days=days_before), NOW + timedelta(days=days_left))
    monkeypatch.setattr(certificate_dates, "validity", lambda _: good)

    found = check_certificate(tmp_path / "device.crt", "[server] client_cert_file", NOW)

    assert found.level == level
    assert said in found.text
    assert "\n" not in found.text
