"""What is found on the device itself, in one sentence each."""

import errno
import os
from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.base.settings import AgentSettings
from edge_agent.net.socket_options import try_congestion_control
from edge_agent.operate.checks import certificate_dates
from edge_agent.operate.checks.certificate_dates import Validity
from edge_agent.operate.checks.device import check_certificate, check_congestion

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


@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [
        ("auto", errno.ENOENT, "OK: the kernel's default (bbr is not offered by this kernel)"),
        (
            "auto",
            errno.EPERM,
            "OK: the kernel's default (this kernel has bbr, and does not allow it",
        ),
        (
            "bbr",
            errno.ENOENT,
            "WARN: bbr is not offered by this kernel, so the kernel's default is used: modprobe",
        ),
        (
            "bbr",
            errno.EPERM,
            "WARN: this kernel has bbr, and does not allow it to this user, so the",
        ),
    ],
)
def test_a_congestion_control_that_is_not_to_be_had_is_said_with_what_to_do(
    tmp_path, wanted, code, said
):
    settings = AgentSettings(
        device_id="d",
        watch={"folder": tmp_path},
        server={"url": "http://127.0.0.1"},
        upload={"congestion_control": wanted},
    )

    def refuse(_name):
        raise OSError(code, os.strerror(code))

    [found] = check_congestion(settings, try_it=refuse)

    assert f"{found.level}: {found.text}".startswith(said)


def test_the_kernel_is_asked_for_a_congestion_control_as_each_connection_does():
    try_congestion_control("reno")  # every kernel has it, and lets every user have it
    with pytest.raises(FileNotFoundError):
        try_congestion_control("no-such")


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (None, 'OK: bbr, as [[link]] match = "sat*" says'),
        (errno.ENOENT, "WARN: bbr is not offered by this kernel, so what [upload] says is used"),
    ],
)
def test_the_congestion_control_of_the_link_in_use_is_said_with_the_rule_that_wants_it(
    tmp_path, refused, said
):
    settings = AgentSettings(
        device_id="d",
        watch={"folder": tmp_path},
        server={"url": "http://127.0.0.1"},
        upload={"congestion_control": "cubic"},
        link=[{"match": "sat*", "congestion_control": "bbr"}],
    )

    def ask(name):
        if refused:
            raise OSError(refused, name)

    [found] = check_congestion(settings, settings.link[0].rule(), try_it=ask)

    assert f"{found.level}: {found.text}".startswith(said)
