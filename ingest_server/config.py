"""The server's configuration: typed, frozen, read once, every fault one clear sentence.

Command line > environment (``INGEST_SERVER_SERVER__LISTEN``, two underscores between section and
key) > TOML file > defaults: `edge_host.settings`. Here are the keys, and this server's words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from edge_host.errors import ConfigError
from edge_host.settings import (
    Key,
    LayeredSettings,
    Layers,
    Words,
    complaint,
    nearest,
    path_keys,
)
from ingest_server.core.events import TYPES
from ingest_server.core.names import NameTemplate
from ingest_server.front.address import ListenAddress, parse_address
from ingest_server.front.interim import Interim
from ingest_server.front.tls import TlsFiles

_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z", re.ASCII)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+\Z", re.IGNORECASE)
ENV_PREFIX = "INGEST_SERVER_"
DEFAULT_PATH = Path("/etc/edge-uploader/server.toml")
GIB = 2**30


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004 # pydantic's protocol
    return value


Number = BeforeValidator(_no_bool)
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), Number]
Count = Annotated[int, Number]
Size = Annotated[ByteSize, Number]
Dialect = Literal["frago", "drf", "django", "django-init", "turbo"]


class _Section(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    pass


class ServerSection(_Section):
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

    keep_alive_s: Annotated[Seconds, Field(gt=0, le=3600)] = 75.0
    """Idle time before a connection is closed: longer than an agent's pause between requests, and
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
            raise ValueError("it must start with http:// or https://")
        return value


class TlsSection(_Section):
    cert_file: Path | None = None
    """The server's certificate with its chain, in PEM form; with it the server speaks https."""

    key_file: Path | None = None
    """That certificate's key, in PEM form and without a password."""

    client_ca_file: Path | None = None
    """Whose certificates identify devices (common name = device id), beside tokens."""


class AuthSection(_Section):
    mode: Literal["token", "open"] = "token"
    """token: each device has its own. open: no credential; refused off this machine."""

    hosts: tuple[str, ...] = ()
    """Names besides localhost by which open mode may be addressed."""


class LimitsSection(_Section):
    max_length: Annotated[Size, Field(gt=0)] = ByteSize(1024 * GIB)
    """Largest file: a day of 4K video is about 1 TiB."""

    min_free: Annotated[Size, Field(ge=0)] = ByteSize(GIB)
    """Space that stays free on the disk: the database must always be able to write."""

    max_open_uploads_per_device: Annotated[Count, Field(ge=1)] = 256
    """Unfinished uploads of one device: bounds what a runaway client can leave behind."""

    quota: Annotated[Size, Field(gt=0)] | None = None
    """Bytes that unfinished uploads of one device may hold, reserved when one is created."""

    max_requests_per_device: Annotated[Count, Field(ge=1)] | None = None
    """Requests of one device that run or wait, of each kind; one more is told to come back (429).
    Unset: any number waits."""

    require_digest: bool = False
    """Refuse to publish a file whose client gave no SHA-256."""

    read_timeout_s: Seconds = 30.0
    """Without a single byte of a body: longer than a handover between mobile networks."""

    min_rate: Annotated[Size, Field(ge=0)] = ByteSize(1000)
    """Bytes per second below which a sender is cut: it would hold a thread for days."""

    min_rate_window_s: Seconds = 60.0
    """Over how long that rate is averaged: a pause in a tunnel is no reason."""


class ExpirySection(_Section):
    idle_days: Seconds = 14.0
    """Days without a byte until an unfinished upload is dropped; only while the server runs."""


class RetentionSection(_Section):
    published_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False), Number] = 0.0
    """Days after its verification that a published file is removed; 0: never."""
    scrub_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False), Number] = 30.0
    """Days that a published file counts as intact after it was last read whole; 0: until the server
    is started again."""


class ProtocolsSection(_Section):
    tus: bool = True
    """tus 1.0 at /files/: what most upload clients speak."""

    ietf: bool = True
    """The IETF's resumable uploads (a draft still) at /files/."""

    ietf_104: Interim = Interim.DIRECT
    """Whether its interim answer with the upload's URL is sent: nginx takes that for the final one."""

    cors_origins: tuple[str, ...] = ()
    """Web pages that may upload from a browser; none, since any page could try."""

    compat: tuple[Dialect, ...] = ()
    """Protocols of other upload servers to speak as well, each below /compat/."""

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.match(origin):
                msg = f'{origin!r} is not an origin such as "https://app.example" or "*"'
                raise ValueError(msg)
        return value


class CompatSection(_Section):
    checksum: str = "md5"
    """What a client's whole-file checksum is where its protocol does not say: any of hashlib's."""

    require_checksum: bool = True
    """Refuse to finish an upload without a checksum, as those servers do by default."""

    chunk_size: Annotated[Size, Field(gt=0)] = ByteSize(64 * 10**6)
    """What "django-init" tells its clients to send at once; its own default."""

    retries: Annotated[Count, Field(ge=0)] = 2
    """How often a "django-init" client may send a bad chunk again before the upload has failed."""

    keep_failed: bool = False
    """Keep the bytes of such a failed upload until it expires, instead of dropping them."""

    @field_validator("checksum")
    @classmethod
    def _is_algorithm(cls, value: str) -> str:
        if value not in hashlib.algorithms_available:
            raise ValueError(f"hashlib has no {value!r}; md5 and sha256 are usual")
        return value


class HooksSection(_Section):
    created: str | None = None
    completed: str | None = None
    failed: str | None = None
    expired: str | None = None
    """"module:function" each, called with the event after it became true."""

    before_publish: str | None = None
    """"module:function", asked about each verified file; it may refuse to have it published."""

    @field_validator("*")
    @classmethod
    def _is_entry(cls, value: str | None) -> str | None:
        if value is not None and not _ENTRY.match(value):
            raise ValueError('a function is named as "module:function"')
        return value


class WebhookSection(_Section):
    url: str
    """Where events are posted to."""

    secret_file: Path
    """What they are signed with: a line of at least 24 bytes, or of whsec_ and base64."""

    events: tuple[str, ...] = tuple(sorted(TYPES))
    """Which ones."""

    ca_file: Path | None = None
    """The authority that signed its certificate, in PEM form; unset: those the system trusts."""

    allow_private: bool = False
    """Allow plain http, and a target on this machine or in a private network."""

    @field_validator("events")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if one not in TYPES:
                raise ValueError(f"there is no event {one!r}{_nearest(one, TYPES)}")
        return value

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        split = urlsplit(self.url)
        if split.scheme not in {"https", "http"} or not split.hostname or "@" in split.netloc:
            raise ValueError("url must be https://HOST/PATH, without a user or password in it")
        if split.scheme == "http" and not self.allow_private:
            raise ValueError(
                "url must be https:// (http:// only with allow_private = true, in a network that "
                "nobody else listens to)"
            )
        return self


class LogSection(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """debug adds a line per piece of an upload."""

    format: Literal["auto", "json", "console"] = "auto"
    """auto: readable on a terminal, JSON lines everywhere else (journald)."""

    audit_file: Path | None = None
    """Who did what, one JSON line each; unset: among the other log lines, as audit.noted."""


class MetricsSection(_Section):
    listen: str | None = None
    """Where Prometheus may ask, without a credential: this machine or a private network."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            parse_address(value)
        return value


class ServerConfig(LayeredSettings):
    """All of it. Made by `load`, which is the only way that names where a fault is."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        hide_input_in_errors=True,
    )

    server: ServerSection = ServerSection()
    tls: TlsSection = TlsSection()
    auth: AuthSection = AuthSection()
    limits: LimitsSection = LimitsSection()
    expiry: ExpirySection = ExpirySection()
    retention: RetentionSection = RetentionSection()
    protocols: ProtocolsSection = ProtocolsSection()
    compat: CompatSection = CompatSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    hooks: HooksSection = HooksSection()
    webhook: tuple[WebhookSection, ...] = ()

    @property
    def address(self) -> ListenAddress:
        return parse_address(self.server.listen)

    @property
    def tls_files(self) -> TlsFiles | None:
        """The files for TLS, None where the server speaks plain http."""
        if self.tls.cert_file is None or self.tls.key_file is None:
            return None
        return TlsFiles(self.tls.cert_file, self.tls.key_file, self.tls.client_ca_file)


_PATHS = frozenset(path_keys(ServerConfig))
_WORDS = Words(
    error=ConfigError,
    absent="The configuration file {path} does not exist.",
    is_folder="The configuration file {path} cannot be read: {why}.",
    unreadable="The configuration file {path} cannot be read: {why}.",
    not_text="{path} is not UTF-8 text.",
    not_toml="{path} is not valid TOML: {why}.",
    from_file="in {path}",
    from_variable="environment variable {variable}",
    not_json='The environment variable {variable} must be a JSON list such as ["a", "b"].',
)


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str],
    listen: str | None = None,
    data_dir: Path | None = None,
) -> ServerConfig:
    """Return the configuration.

    Args:
        path: the TOML file; None for none.
        environ: the environment variables.
        listen, data_dir: from the command line.

    Raises:
        ConfigError: something is wrong; its sentences name each key and where it stands.
    """
    layers = Layers(ServerConfig, _WORDS)
    if path is not None:
        layers.add_file(path, _beside_file)
    keys = [key for key in layers.keys if len(key) > 1]
    variables = [layers.variable(key) for key in keys]
    layers.add_environment(
        environ,
        keys=keys,
        place=lambda _key, text: text,
        unknown=lambda name, _: (
            f"The environment variable {name} is not known{_nearest(name.upper(), variables)}."
        ),
    )
    for key, value in (("listen", listen), ("data_dir", data_dir)):
        if value is not None:
            option = f"--{key.replace('_', '-')} on the command line"
            layers.add(("server", key), value, option)
    faults = layers.problems
    try:
        config = ServerConfig.model_validate(layers.values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        faults += [_sentence(one, layers) for one in found]
        raise ConfigError(faults) from None
    if config.auth.mode == "open" and not config.address.is_local:
        faults.append(
            f"[auth] mode ({layers.origin(('auth', 'mode'))}): 'open' asks nobody for a credential "
            f"and is refused on {config.server.listen}, which other machines can reach; "
            'listen on 127.0.0.1 or a unix: socket, or set mode = "token".'
        )
    faults += _half_of_tls(config.tls, layers)
    socket = config.server.proxy_socket
    if socket is not None and str(socket) != config.address.path:
        faults.append(
            f"[server] proxy_socket ({layers.origin(('server', 'proxy_socket'))}) is {socket}, which is "
            f'not where the server listens ({config.server.listen}): set listen = "unix:{socket}", or '
            "name the proxy by proxy_secret_file."
        )
    if faults:
        raise ConfigError(faults)
    return config


def _half_of_tls(tls: TlsSection, layers: Layers) -> Iterator[str]:
    given = [key for key in type(tls).model_fields if getattr(tls, key) is not None]
    for key in ("cert_file", "key_file"):
        if given and key not in given:
            yield (
                f"[tls] {given[0]} ({layers.origin(('tls', given[0]))}) needs {key} as well: TLS takes "
                "the server's certificate and its key."
            )


def _beside_file(key: Key, text: str, folder: Path) -> str:
    """Make paths that are relative in a file relative to that file's folder."""
    if key in _PATHS:
        return str(folder / text)
    if key[-1] == "listen" and text.startswith("unix:"):
        return f"unix:{folder / text.removeprefix('unix:')}"
    return text


def _sentence(error: ErrorDetails, layers: Layers) -> str:
    section, *rest = error["loc"]
    kind, where = "key", (str(section), *map(str, rest[:1]))
    known: Iterable[str] = [key[1] for key in layers.keys if key[0] == section and len(key) > 1]
    place = f"[{section}] {where[-1]}"
    if not rest:
        kind, known, place = "section", ServerConfig.model_fields, f"[{section}]"
    if section == "webhook":
        known, where = WebhookSection.model_fields, ("webhook",)
        number, key = [*rest, "", ""][:2]
        place = f"[[webhook]] number {number + 1}" if isinstance(number, int) else "[[webhook]]"
        place += f" {key}" if key else ""
    text = complaint(error, _PLAINLY)
    if error["type"] == "extra_forbidden":
        text = f"there is no such {kind}{_nearest(str(error['loc'][-1]), known)}"
    return f"{place} ({layers.origin(where) or 'default'}): {text}."


_PLAINLY = {
    "byte": 'a size is a number of bytes or such as "8MiB" or "500KB"',
    "int": "a whole number is needed",
    "float": "a number is needed",
    "bool": "true or false is needed",
    "string_type": "a text in quotes is needed",
    "path": "a path in quotes is needed",
    "tuple_type": 'a list such as ["a", "b"] is needed',
    "model": "a section is needed: its name in [ ] on a line of its own",
}
"""Pydantic's words where an operator needs others."""


def _nearest(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f"; the nearest is {close}" if close else ""
