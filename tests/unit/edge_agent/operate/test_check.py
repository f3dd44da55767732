"""What `edge-agent check` finds without asking anybody, in one sentence each."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_agent.base import tls
from edge_agent.base.settings import AgentSettings
from edge_agent.base.tls import Validity
from edge_agent.operate import check
from tests.support.rim import StillClock

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def settings(**tables):
    base = {"device_id": "d", "watch": {"folder": "/m"}, "server": {"url": "http://127.0.0.1:1"}}
    return AgentSettings.model_validate(base | tables)


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
    monkeypatch.setattr(tls, "validity", lambda _: good)

    found = check._certificate(tmp_path / "device.crt", "[server] client_cert_file", NOW)

    assert found.level == level
    assert said in found.text
    assert "\n" not in found.text


@pytest.mark.parametrize(
    ("tables", "level", "said"),
    [
        ({}, "OK", "lo leads to the server; no [[link]] fits it, no limit"),
        (
            {"link": [{"match": "lo", "metered": True, "daily_bytes": "1MB", "max_rate": "5KB"}]},
            "OK",
            'lo leads to the server; [[link]] match = "lo" holds, metered, at most 1.0 MB a day,'
            " at most 5.0 kB/s",
        ),
        (
            {"link": [{"match": "*", "min_priority": 5}]},
            "OK",
            "holds, recordings of priority 5 and above only, no limit",
        ),
        (
            {"link": [{"match": "eth*|l?", "metered": True}]},
            "WARN",
            "nothing is sent now: the link lo is metered",
        ),
        (
            {"upload": {"timetable": ["00:00-24:00 off"]}},
            "WARN",
            "nothing is sent now: the timetable allows nothing",
        ),
    ],
)
def test_the_link_in_use_and_its_rules_are_told(tables, level, said):
    clock = StillClock(synchronised=True, wall=NOW)

    found = check._link(settings(**tables), clock)

    assert found.level == level
    assert said in found.text


def test_a_proxy_over_tls_is_named_for_what_it_costs():
    over_tls = {"server": {"url": "https://s.example", "proxy": "https://p.example:3128"}}
    plain = {"server": {"url": "https://s.example", "proxy": "http://p.example:3128"}}

    [found] = check._proxy(settings(**over_tls))

    assert found.level == "WARN"
    assert "http:// proxy" in found.text
    assert list(check._proxy(settings(**plain))) == []


def test_a_board_without_aes_is_told_what_to_do_about_its_ciphers(monkeypatch):
    monkeypatch.setattr(tls, "has_aes", lambda: False)
    monkeypatch.setattr(tls, "prefers_chacha", lambda: False)

    [found] = check._cipher("https://s.example")

    assert "docs/install.md" in found.text
    assert list(check._cipher("http://s.example")) == []


@contextmanager
def as_another_user() -> Iterator[Path]:
    """Yield a folder that another user may write to, and be that user meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        Path(folder, "camera.mp4").write_bytes(b"x")
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_the_kernel_says_of_ones_own_files_is_not_taken_for_the_cameras():
    with as_another_user() as folder:
        found = check._lease(folder, may_write=True, recursive=True)

    assert found.level == "WARN"
    assert "they belong to another user" in found.text


def test_without_a_recording_and_without_write_access_leases_cannot_be_tried(tmp_path):
    found = check._lease(tmp_path, may_write=False, recursive=True)

    assert found.level == "WARN"
    assert "check again when there is one" in found.text
