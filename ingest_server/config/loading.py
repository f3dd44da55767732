"""The whole configuration, and how it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from edge_host.errors import ConfigError
from edge_host.settings import Key, LayeredSettings, Layers, Words, complaint, path_keys
from ingest_server.config.keeping import (
    ExpirySection,
    LimitsSection,
    RetentionSection,
    StorageSection,
)
from ingest_server.config.routing import RouteSection
from ingest_server.config.serving import (
    AuthSection,
    LogSection,
    MetricsSection,
    PageSection,
    ServerSection,
    TlsSection,
)
from ingest_server.config.speaking import CompatSection, ProtocolsSection
from ingest_server.config.telling import FleetSection, HooksSection, NotifySection, WebhookSection
from ingest_server.config.values import Section, nearest_words
from ingest_server.core.routes import overlap
from ingest_server.front.address import ListenAddress, parse_address
from ingest_server.front.tls import TlsFiles

ENV_PREFIX = "INGEST_SERVER_"
DEFAULT_PATH = Path("/etc/edge-uploader/server.toml")


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
    page: PageSection = PageSection()
    limits: LimitsSection = LimitsSection()
    expiry: ExpirySection = ExpirySection()
    retention: RetentionSection = RetentionSection()
    storage: StorageSection = StorageSection()
    protocols: ProtocolsSection = ProtocolsSection()
    compat: CompatSection = CompatSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    hooks: HooksSection = HooksSection()
    fleet: FleetSection = FleetSection()
    notify: tuple[NotifySection, ...] = ()
    webhook: tuple[WebhookSection, ...] = ()
    route: tuple[RouteSection, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Each bucket and prefix beside that of [storage] that a rule leads to."""
        found = (one.place for one in self.route)
        return tuple(dict.fromkeys(one for one in found if one is not None))

    @property
    def direct_routes(self) -> frozenset[str]:
        """What the routes begin with on which devices send to the store themselves."""
        if self.storage.blobs is None or self.storage.before is not None:
            return frozenset()  # some bytes are still in a folder
        return frozenset(one.rule.begins for one in self.route if one.direct)

    @property
    def address(self) -> ListenAddress:
        return parse_address(self.server.listen)

    @property
    def page_is_on(self) -> bool:
        """Whether a browser is shown the page."""
        return self.address.is_local if self.page.enabled is None else self.page.enabled

    @property
    def tls_files(self) -> TlsFiles | None:
        """The files for TLS, None where the server speaks plain http."""
        if self.tls.cert_file is None or self.tls.key_file is None:
            return None
        return TlsFiles(self.tls.cert_file, self.tls.key_file, self.tls.client_ca_file)


_PATHS = frozenset(path_keys(ServerConfig))
_LISTS: Mapping[str, type[Section]] = MappingProxyType(
    {"webhook": WebhookSection, "route": RouteSection, "notify": NotifySection}
)
_WORDS = Words(
    error=ConfigError,
    absent="The configuration file {path} does not exist.",
    is_folder="The configuration file {path} cannot be read: {why}.",
    unreadable="The configuration file {path} cannot be read: {why}.",
    not_text="{path} is not UTF-8 text.",
    not_toml="{path} is not valid TOML: {why}.",
    from_file="in {path}",
    from_variable="environment variable {variable}",
    no_path="{key} ({origin}) {why}.",
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
        unknown=lambda name, _: _ended(
            f"The environment variable {name} is not known{nearest_words(name.upper(), variables)}"
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
    faults += _unfit_routes(config, layers)
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


def _unfit_routes(config: ServerConfig, layers: Layers) -> Iterator[str]:
    origin, own = layers.origin(("route",)), config.storage.blobs
    if config.places and own is None:
        yield (
            f"[[route]] bucket ({origin}) is of an S3 store, and files are in data_dir: set [storage] blobs, "
            "or leave bucket out and name a prefix."
        )
        return
    if own is None and any(one.direct for one in config.route):
        yield (
            f"[[route]] direct ({origin}) lets devices send to an S3 store, and files are in data_dir: set "
            "[storage] blobs, or leave direct out."
        )
    is_linked = config.storage.presigned_s is not None or bool(config.direct_routes)
    if config.storage.presigned_endpoint is not None and not is_linked:
        yield (
            f"[storage] presigned_endpoint ({layers.origin(('storage', 'presigned_endpoint'))}) is of links: set "
            "presigned_s as well, or direct in a [[route]]."
        )
    both = {one.rule.begins for one in config.route if one.direct} & {
        one.rule.begins for one in config.route if not one.direct
    }
    if both:
        yield (
            f"[[route]] direct ({origin}): two rules lead to {min(both)}, one with direct and one without: give "
            "both the same, or places of their own."
        )
    found = overlap([(own or "").rstrip("/"), *config.places])
    if found is not None:
        inner, outer = found
        yield (
            f"[[route]] bucket ({origin}): {inner} lies in {outer}, so that the files of one would be among "
            "those of the other. Name places that are apart. For a folder below [storage] blobs, leave "
            "bucket out and name a prefix."
        )


def _beside_file(key: Key, text: str, folder: Path) -> str:
    """Make paths that are relative in a file relative to that file's folder."""
    if key in _PATHS and text:
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
    if section in _LISTS:
        known, where = _LISTS[str(section)].model_fields, (str(section),)
        number, key = [*rest, "", ""][:2]
        place = f"[[{section}]]"
        place += f" number {number + 1}" if isinstance(number, int) else ""
        place += f" {key}" if key else ""
    text = complaint(error, _PLAINLY)
    if section in _LISTS and not rest:
        text = f"there may be several of it: write each one below a line [[{section}]], with two brackets"
    if error["type"] == "extra_forbidden":
        text = f"there is no such {kind}{nearest_words(str(error['loc'][-1]), known)}"
    return _ended(f"{place} ({layers.origin(where) or 'default'}): {text}")


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith("?") else f"{sentence}."


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
