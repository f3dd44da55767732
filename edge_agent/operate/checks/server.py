"""The server: whether it answers, for whom it takes this device, and what stands between."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import datetime

from edge_agent.base import ciphers
from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConfigError, LinkDownError, TransportError, UnauthorizedError
from edge_agent.base.settings import AgentSettings
from edge_agent.operate.checks.finding import Finding
from edge_agent.send.enrolment import has_token
from edge_agent.send.wiring import make_transport

_CLOCK_OFF_S = 60.0


def check_server(settings: AgentSettings, clock: Clock) -> Iterator[Finding]:
    """Ask it once, with the token of this device."""
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
    yield from check_proxy(settings)
    yield from check_cipher(url)
    yield from check_offset(probe.now, clock)


def _advice(error: TransportError, settings: AgentSettings) -> str:
    """Return what to do about *error*, to follow it in the same sentence."""
    text = str(error)
    if isinstance(error, UnauthorizedError) and "unauthorized" in text:
        return (
            "; a new token: ingest-server token add, on the server, then put it into"
            " [server] token_file"
        )
    is_said = any(one in text for one in ("certificate", "leads to IPv", "does not speak TLS"))
    if not isinstance(error, LinkDownError) or is_said:
        return ""
    if settings.server.proxy is not None:
        return "; check that [server] proxy and url are right and that the proxy runs"
    if "Name or service not known" in text or "name resolution" in text:
        return "; check the host's name in [server] url, and the network"
    return "; check host and port in [server] url, the network, and that the server runs"


def check_proxy(settings: AgentSettings) -> Iterator[Finding]:
    """Say what a proxy costs, if it costs anything."""
    if (settings.server.proxy or "").lower().startswith("https"):
        text = (
            "reached over TLS: it works, but dead links are noticed late, answers that come before a"
            " body has ended are lost, and packets are not made smaller where full ones are (MTU); an"
            " http:// proxy has no such fault, and what is sent through it to an https:// server is"
            " encrypted all the same"
        )
        yield Finding("WARN", "proxy", text)


def check_cipher(url: str) -> Iterator[Finding]:
    """Say whether this processor pays for the cipher that would be chosen."""
    if url.startswith("https") and not ciphers.has_aes() and not ciphers.prefers_chacha():
        text = (
            "this processor has no instructions for AES, and TLS 1.3 begins with AES: each byte costs"
            " about five times the work; put ChaCha20 first as docs/install-device.md says"
        )
        yield Finding("WARN", "cipher", text)


def check_offset(server_now: str, clock: Clock) -> Iterator[Finding]:
    """Say whether the server's clock is far from ours."""
    try:
        offset_s = (clock.now_utc() - datetime.fromisoformat(server_now)).total_seconds()
    except (ValueError, TypeError):
        return
    if abs(offset_s) > _CLOCK_OFF_S:
        direction = "ahead of" if offset_s > 0 else "behind"
        text = f"{abs(offset_s):.0f} s {direction} the server's; one of the two is wrong"
        yield Finding("WARN", "clock", text)
