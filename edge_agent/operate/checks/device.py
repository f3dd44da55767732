"""The device itself: its clock, its kernel, its own certificates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from edge_agent.base import certificate_dates
from edge_agent.base.clock import Clock
from edge_agent.base.settings import AgentSettings
from edge_agent.base.settings_check import tls_files
from edge_agent.operate.checks.finding import Finding

_RENEW_SOON = timedelta(days=14)
_CONGESTION = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def check_clock(clock: Clock) -> Iterator[Finding]:
    """Say whether somebody sets it."""
    if clock.is_synchronised():
        yield Finding("OK", "clock", "synchronised")
    else:
        text = (
            "not synchronised: uploads work, times in messages may be wrong; enable an NTP client"
        )
        yield Finding("WARN", "clock", text)


def check_congestion(settings: AgentSettings) -> Iterator[Finding]:
    """Say which congestion control this kernel uses for what is sent."""
    wanted = settings.upload.congestion_control
    try:
        offered = _CONGESTION.read_text(encoding="ascii").split()
    except OSError:
        offered = []
    if wanted == "auto":
        used = "bbr" if "bbr" in offered else "the kernel's default (bbr is not offered)"
        yield Finding("OK", "congestion control", used)
    elif wanted in offered:
        yield Finding("OK", "congestion control", wanted)
    else:
        text = f"{wanted} is not offered by this kernel: modprobe tcp_{wanted}; the default is used"
        yield Finding("WARN", "congestion control", text)


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
