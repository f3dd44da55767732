"""The device itself: its clock, its kernel, its own certificates."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from edge_agent.base.clock import Clock
from edge_agent.base.settings import AgentSettings
from edge_agent.base.settings_check import tls_files
from edge_agent.core.link_rule import LinkRule
from edge_agent.net.socket_options import try_congestion_control
from edge_agent.operate.checks import certificate_dates
from edge_agent.operate.checks.finding import Finding

_RENEW_SOON = timedelta(days=14)


def check_clock(clock: Clock) -> Iterator[Finding]:
    """Say whether somebody sets it."""
    if clock.is_synchronised():
        yield Finding("OK", "clock", "synchronised")
    else:
        text = (
            "not synchronised: uploads work, times in messages may be wrong; enable an NTP client, and"
            " see that `timedatectl` says so"
        )
        yield Finding("WARN", "clock", text)


def check_congestion(
    settings: AgentSettings,
    rule: LinkRule | None = None,
    *,
    try_it: Callable[[str], None] = try_congestion_control,
) -> Iterator[Finding]:
    """Say which congestion control this kernel uses for what is sent.

    Args:
        settings: what all links have.
        rule: of the link in use.
        try_it: asks the kernel for one.
    """
    wanted, said_by = settings.upload.congestion_control, ""
    if rule is not None and rule.congestion_control is not None:
        wanted, said_by = rule.congestion_control, f', as [[link]] match = "{rule.match}" says'
    if wanted == "measured":
        wanted, said_by = "auto", f"{said_by}, until the agent has measured which one moves more"
    name = "bbr" if wanted == "auto" else wanted
    try:
        try_it(name)
    except OSError as error:
        why, action = f"{name} is not offered by this kernel", f"modprobe tcp_{name}"
        if error.errno in (errno.EPERM, errno.EACCES):
            why = f"this kernel has {name}, and does not allow it to this user"
            action = f"add {name} to the sysctl net.ipv4.tcp_allowed_congestion_control"
        otherwise = "what [upload] says" if said_by else "the kernel's default"
        if wanted == "auto":
            yield Finding("OK", "congestion control", f"{otherwise} ({why}){said_by}")
        else:
            text = f"{why}, so {otherwise} is used: {action}"
            yield Finding("WARN", "congestion control", text)
    else:
        yield Finding("OK", "congestion control", f"{name}{said_by}")


def check_certificates(settings: AgentSettings, clock: Clock) -> Iterator[Finding]:
    """Look at this device's own certificates, which nobody else tells that they are over."""
    for files in (tls_files(settings.server), tls_files(settings.mqtt)):
        if files.cert_file is not None:
            yield check_certificate(
                files.cert_file, f"[{files.table}] client_cert_file", clock.now_utc()
            )


def check_certificate(path: Path, key: str, now: datetime) -> Finding:
    """Say how long the certificate at *path*, which the configuration names as *key*, is good."""
    try:
        good = certificate_dates.validity(path)
    except ValueError as error:
        return Finding("FAIL", "certificate", f"{key}: {error}")
    until = f"{good.ends:%Y-%m-%d %H:%M} UTC"
    if now >= good.ends:
        text = f"{key}: {path} expired at {until}: renew it; the agent takes the new one by itself"
        return Finding("FAIL", "certificate", text)
    if now < good.begins:
        text = (
            f"{key}: {path} is good from {good.begins:%Y-%m-%d %H:%M} UTC on, and here it is"
            f" {now:%Y-%m-%d %H:%M}: set the clock of this device, or renew the certificate"
        )
        return Finding("FAIL", "certificate", text)
    left = good.ends - now
    if left < min(_RENEW_SOON, (good.ends - good.begins) / 3):
        return Finding("WARN", "certificate", f"{key}: {path} expires at {until}: renew it")
    return Finding("OK", "certificate", f"{key}: good until {until}")
