"""Where the server is, who may come in, and what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from edge_host.settings import Table
from ingest_server.config.values import Count, Seconds
from ingest_server.core.names import NameTemplate
from ingest_server.front.address import parse_address


class ServerSection(Table):
    listen: str = "127.0.0.1:8080"
    """Only this machine, until the operator chose who may reach it. `[::]:8080`, `unix:PATH`."""

    data_dir: Path = Path("/var/lib/edge-uploader/server")
    """Where uploads and the database lie; below it ``published/``, if need be on another volume."""

    threads: Annotated[Count, Field(ge=1, le=10_000)] = 256
    """Uploads received at once; one more is told to come back (503). Each has a thread, and about
    0.1 MB of memory while it is slow. All other requests have threads of their own."""

    name_template: str = "{device}/{date}/{name}"
    """Where a verified file goes below published/. Fields: device, folder, date and recorded
    (UTC), name."""

    stop_timeout_s: Annotated[Seconds, Field(le=3600)] = 6.0
    """How long running requests may finish at a stop; what is cut has its bytes kept. A container
    is killed ten seconds after SIGTERM."""

    drain_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """How long a stop waits before it begins, while all is served and `/readyz` says 503: until a balancer
    that asks has seen that. 0: none asks."""

    keep_alive_s: Annotated[Seconds, Field(gt=0, le=3600)] = 300.0
    """Idle time before a connection is closed: longer than an agent's pause between two reports, and
    than a proxy in front keeps its own, or a request meets a connection that is just closing."""

    public_url: str | None = None
    """How clients reach the server where a proxy stands before it; unset: as the request says."""

    trust_proxy: bool = False
    """Believe a proxy on this machine where its clients are and how they reach it: no identity."""

    proxy_socket: Path | None = None
    """Believe whoever speaks on this Unix socket, which `listen` is, whose certificate it checked."""

    proxy_secret_file: Path | None = None
    """Believe a proxy that sends this secret whose certificate it checked."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @field_validator("name_template")
    @classmethod
    def _is_template(cls, value: str) -> str:
        NameTemplate(value)
        return value

    @field_validator("public_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value


class TlsSection(Table):
    cert_file: Path | None = None
    """The server's certificate with its chain, in PEM form; with it the server speaks https."""

    key_file: Path | None = None
    """That certificate's key, in PEM form and without a password."""

    ca_file: Path | None = None
    """Who signed cert_file, where that is your own CA: new devices fetch it, and know it by its fingerprint."""

    client_ca_file: Path | None = None
    """Whose certificates identify devices (common name = device id), beside tokens."""


class AuthSection(Table):
    mode: Literal["token", "open"] = "token"
    """token: each device has its own. open: no credential; refused off this machine."""

    hosts: tuple[str, ...] = ()
    """Names besides localhost by which open mode may be addressed."""


class PageSection(Table):
    enabled: bool | None = None
    """Whether a browser is shown the page at `/`. Unset: on where only this machine can ask."""


class LogSection(Table):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """debug adds a line per piece of an upload."""

    format: Literal["auto", "json", "console"] = "auto"
    """auto: readable on a terminal, JSON lines everywhere else (journald)."""

    audit_file: Path | None = None
    """Who did what, one JSON line each; unset: among the other log lines, as audit.noted."""


class MetricsSection(Table):
    listen: str | None = None
    """Where Prometheus may ask, without a credential: this machine or a private network."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            parse_address(value)
        return value
