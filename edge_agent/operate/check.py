"""`edge-agent check`: everything that must work, tried once, each with what to do if it does not."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from edge_agent.base import tls
from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConfigError, LinkDownError, TransportError, UnauthorizedError
from edge_agent.base.settings import AgentSettings
from edge_agent.base.settings_check import tls_files
from edge_agent.base.settings_loading import Loaded
from edge_agent.core.schedule import SendingRules, decide
from edge_agent.core.stability import Writer
from edge_agent.media.folder import Folder
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.mounts import kind_at, read_mountinfo
from edge_agent.net.link_monitor import address_of
from edge_agent.net.resolver import SHARED
from edge_agent.net.route import interface_to
from edge_agent.operate.text import size
from edge_agent.report.reporter import BrokerError, check_broker
from edge_agent.send.enrolment import has_token
from edge_agent.send.wiring import make_transport

_BROKER_S = 10.0
_CLOCK_OFF_S = 60.0
_LOOKED_AT = 1000
"""Files in the watched folder, until one is found that belongs to the camera's user."""
_RENEW_SOON = timedelta(days=14)
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "vfat", "exfat"})
_CONGESTION = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


@dataclass(frozen=True, slots=True)
class Finding:
    level: str
    """``OK``, ``WARN`` (it works, and could be better) or ``FAIL``."""
    what: str
    text: str


def run_checks(loaded: Loaded, clock: Clock) -> Iterator[Finding]:
    """Yield one finding after the other, as they are made."""
    settings = loaded.settings
    source = "no file: environment and options" if loaded.file is None else str(loaded.file)
    yield Finding("OK", "config", f"read from {source}")
    for warning in loaded.warnings:
        if not warning.startswith("[watch] folder:"):  # `_folder` says it, and what to do
            yield Finding("WARN", "config", warning)
    yield from _folder(Folder(settings.watch), deletes=settings.retention.delete != "never")
    yield from _state_dir(settings.state_dir)
    yield from _clock(clock)
    yield from _congestion(settings)
    yield from _certificates(settings, clock)
    yield from _server(settings, clock)
    yield _link(settings, clock)
    yield from _broker(settings)


def _folder(watched: Folder, *, deletes: bool) -> Iterator[Finding]:
    folder = watched.path
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        text = f"{folder}: {error.strerror}; create it, mend [watch] folder, or give access to it"
        yield Finding("FAIL", "folder", text)
        return
    yield Finding("OK", "folder", f"{folder} can be read")
    may_write = os.access(folder, os.W_OK | os.X_OK)
    if deletes and not may_write:
        text = (
            f"verified recordings cannot be deleted from {folder}: give this user write access to it,"
            ' or set [retention] delete = "never"'
        )
        yield Finding("FAIL", "folder", text)
    yield _lease(folder.resolve(), may_write=may_write, recursive=watched.rules.is_recursive)


def _lease(folder: Path, *, may_write: bool, recursive: bool) -> Finding:
    probe = LeaseProbe()
    probe.consider(folder, recursive=recursive)
    writer = None
    if not probe.limits:
        if (recording := _file_of_another_user(folder)) is not None:
            # The kernel tells of one's own files where it may refuse to tell of the camera's.
            writer = probe.writer(os.fsencode(recording))
        elif may_write:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".edge-agent-") as trial:
                writer = probe.writer(os.fsencode(trial.name))
    if probe.limits:
        return Finding("WARN", "open files", "; ".join(probe.limits))
    if writer is None or writer is Writer.UNKNOWN:
        text = "cannot be tried while no recording is in the folder: check again when there is one"
        return Finding("WARN", "open files", text)
    return Finding("OK", "open files", "the kernel tells whether a recording is still written")


def _file_of_another_user(folder: Path) -> str | None:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, _LOOKED_AT):
            with suppress(OSError):
                is_file = entry.is_file(follow_symlinks=False)
                if (
                    is_file
                    and entry.stat(follow_symlinks=False).st_uid != os.geteuid()
                    and _may_read(entry.path)
                ):
                    return entry.path
    return None


def _may_read(path: str) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)


def _state_dir(state_dir: Path) -> Iterator[Finding]:
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=state_dir, prefix=".check-") as trial:
            os.fsync(trial.fileno())
    except OSError as error:
        text = f"{state_dir}: {error.strerror}; give it to this user, or set another state_dir"
        yield Finding("FAIL", "state_dir", text)
        return
    kind = _kind_of(state_dir)
    if kind in _REMOTE:
        text = (
            f"{state_dir} lies on {kind}, where the database is not safe: set state_dir to a folder"
            " on the device's own disk (ext4, say)"
        )
        yield Finding("FAIL", "state_dir", text)
        return
    yield Finding("OK", "state_dir", f"{state_dir} can be written ({kind or 'unknown'})")


def _kind_of(folder: Path) -> str | None:
    with suppress(OSError):
        return kind_at(folder.resolve(), read_mountinfo())
    return None


def _clock(clock: Clock) -> Iterator[Finding]:
    if clock.is_synchronised():
        yield Finding("OK", "clock", "synchronised")
    else:
        text = (
            "not synchronised: uploads work, times in messages may be wrong; enable an NTP client"
        )
        yield Finding("WARN", "clock", text)


def _congestion(settings: AgentSettings) -> Iterator[Finding]:
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


def _certificates(settings: AgentSettings, clock: Clock) -> Iterator[Finding]:
    """Look at this device's own certificates, which nobody else tells that they are over."""
    for files in (tls_files(settings.server), tls_files(settings.mqtt)):
        if files.cert_file is not None:
            yield _certificate(
                files.cert_file, f"[{files.table}] client_cert_file", clock.now_utc()
            )


def _certificate(path: Path, key: str, now: datetime) -> Finding:
    try:
        good = tls.validity(path)
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


def _server(settings: AgentSettings, clock: Clock) -> Iterator[Finding]:
    url = settings.server.url
    if settings.server.claim_token_file is not None and not has_token(settings.server):
        text = f"none yet in {settings.server.token_file}: the agent claims one at first contact"
        yield Finding("WARN", "token", text)
        return
    try:
        with make_transport(settings, clock) as transport:
            probe = transport.probe(secrets.token_hex(16))
    except ConfigError as error:
        yield from (Finding("FAIL", "server", problem) for problem in error.problems)
        return
    except TransportError as error:
        yield Finding("FAIL", "server", f"{url}: {error}{_advice(error, settings)}")
        return
    if probe.device is None:
        text = "takes uploads without a token (open mode)"
    elif probe.device == settings.device_id:
        text = f"knows this device as {probe.device}"
    else:
        text = (
            f"{url}: the token belongs to {probe.device}, not to {settings.device_id}: set device_id"
            f' = "{probe.device}", or use the token of {settings.device_id}'
        )
        yield Finding("FAIL", "server", text)
        return
    how = "over TLS" if url.startswith("https") else "without encryption"
    yield Finding("OK", "server", f"{url} answers {how} and {text}")
    yield from _proxy(settings)
    yield from _cipher(url)
    yield from _offset(probe.now, clock)


def _proxy(settings: AgentSettings) -> Iterator[Finding]:
    if (settings.server.proxy or "").lower().startswith("https"):
        text = (
            "reached over TLS: it works, but dead links are noticed late and answers that come before"
            " a body has ended are lost; an http:// proxy has neither fault, and what is sent through"
            " it to an https:// server is encrypted all the same"
        )
        yield Finding("WARN", "proxy", text)


def _cipher(url: str) -> Iterator[Finding]:
    if url.startswith("https") and not tls.has_aes() and not tls.prefers_chacha():
        text = (
            "this processor has no instructions for AES, and TLS 1.3 begins with AES: each byte costs"
            " about five times the work; put ChaCha20 first as docs/install.md says"
        )
        yield Finding("WARN", "cipher", text)


def _advice(error: TransportError, settings: AgentSettings) -> str:
    """Return what to do about *error*, to follow it in the same sentence."""
    text = str(error)
    if isinstance(error, UnauthorizedError) and "unauthorized" in text:
        return (
            "; a new token: ingest-server token add, on the server, then put it into"
            " [server] token_file"
        )
    if not isinstance(error, LinkDownError) or "certificate" in text:
        return ""
    if settings.server.proxy is not None:
        return "; check that [server] proxy and url are right and that the proxy runs"
    if "wrong version number" in text.lower():
        return "; it does not speak TLS there: http:// instead of https://, or another port"
    if "Name or service not known" in text or "name resolution" in text:
        return "; check the host's name in [server] url, and the network"
    return "; check host and port in [server] url, the network, and that the server runs"


def _offset(server_now: str, clock: Clock) -> Iterator[Finding]:
    try:
        offset_s = (clock.now_utc() - datetime.fromisoformat(server_now)).total_seconds()
    except (ValueError, TypeError):
        return
    if abs(offset_s) > _CLOCK_OFF_S:
        direction = "ahead of" if offset_s > 0 else "behind"
        text = f"{abs(offset_s):.0f} s {direction} the server's; one of the two is wrong"
        yield Finding("WARN", "clock", text)


def _link(settings: AgentSettings, clock: Clock) -> Finding:
    """Say over which link the agent would send now, and what the owner's rules make of it."""
    address = address_of(settings.server.proxy or settings.server.url)
    interface = interface_to(address[0], SHARED.known(*address))
    if interface is None:
        return Finding("WARN", "link", "no way leads to the server now: the agent waits for one")
    local = clock.now_utc().astimezone() if clock.is_synchronised() else None
    verdict = decide(
        rules=[one.rule() for one in settings.link],
        timetable=settings.upload.slots(),
        max_rate=settings.upload.max_rate,
        interface=interface,
        local=local,
        used_today=0,
        is_paused=False,
    )
    text = f"{interface} leads to the server; {_rules_in_words(verdict)}"
    if verdict.blocked_by is not None:
        return Finding("WARN", "link", f"{text}; nothing is sent now: {verdict.detail}")
    return Finding("OK", "link", text)


def _rules_in_words(verdict: SendingRules) -> str:
    rule = verdict.rule
    parts = ["no [[link]] fits it" if rule is None else f'[[link]] match = "{rule.match}" holds']
    if rule is not None and rule.metered:
        parts.append("metered")
    if rule is not None and rule.daily_bytes is not None:
        parts.append(f"at most {size(rule.daily_bytes)} a day")
    if rule is not None and rule.windows:
        parts.append("at certain times only")
    if rule is not None and rule.min_priority:
        parts.append(f"recordings of priority {rule.min_priority} and above only")
    limit = "no limit" if verdict.max_rate is None else f"at most {size(verdict.max_rate)}/s"
    return ", ".join([*parts, limit])


def _broker(settings: AgentSettings) -> Iterator[Finding]:
    if settings.mqtt.url is None:
        yield Finding("OK", "broker", "none is set: nobody is told over MQTT")
        return
    try:
        text = check_broker(settings.mqtt, settings.device_id, _BROKER_S)
    except (BrokerError, ConfigError) as error:
        yield Finding("FAIL", "broker", str(error))
    else:
        yield Finding("OK", "broker", text)
