"""The whole configuration, and how it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from edge_host.errors import ConfigError
from edge_host.setting_errors import SettingErrors, said_of
from edge_host.settings import Key, LayeredSettings, Layers, Table, path_keys, shown
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
_LISTS: Mapping[str, type[Table]] = MappingProxyType(
    {"webhook": WebhookSection, "route": RouteSection, "notify": NotifySection}
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
    layers = Layers(ServerConfig, ConfigError)
    wrong = SettingErrors(layers, _LISTS, "the defaults" if path is None else str(path))
    if path is not None:
        layers.add_file(path, _beside_file)
    keys = [key for key in layers.keys if len(key) > 1]
    layers.add_environment(
        environ,
        keys=keys,
        place=lambda _key, text: text,
        unknown=lambda name, key: (
            f"the variable {name} sets no key{wrong.meant(key, keys, as_variable=True)}"
        ),
    )
    for key, value in (("listen", listen), ("data_dir", data_dir)):
        if value is not None:
            option = f"the option --{key.replace('_', '-')}"
            layers.add(("server", key), value, option)
    faults = layers.problems
    try:
        config = ServerConfig.model_validate(layers.values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ConfigError([*faults, *wrong.sentences(found)]) from None
    if config.auth.mode == "open" and not config.address.is_local:
        faults.append(
            _told(
                layers,
                ("auth", "mode"),
                f"'open' asks nobody for a credential and is refused on {config.server.listen}, which other"
                ' machines can reach; listen on 127.0.0.1 or a unix: socket, or set mode = "token"',
            )
        )
    faults += _half_of_tls(config.tls, layers)
    faults += _unfit_routes(config, layers)
    socket = config.server.proxy_socket
    if socket is not None and str(socket) != config.address.path:
        faults.append(
            _told(
                layers,
                ("server", "proxy_socket"),
                f"is {socket}, which is not where the server listens ({config.server.listen}): set listen ="
                f' "unix:{socket}", or name the proxy by proxy_secret_file',
            )
        )
    if faults:
        raise ConfigError(faults)
    return config


def _half_of_tls(tls: TlsSection, layers: Layers) -> Iterator[str]:
    given = [key for key in type(tls).model_fields if getattr(tls, key) is not None]
    for key in ("cert_file", "key_file"):
        if given and key not in given:
            text = f"needs {key} as well: TLS takes the server's certificate and its key"
            yield _told(layers, ("tls", given[0]), text)


def _told(layers: Layers, key: Key, text: str) -> str:
    return f"{layers.origin(key)}: {said_of(shown(key), text)}"


def _unfit_routes(config: ServerConfig, layers: Layers) -> Iterator[str]:
    origin, own = layers.origin(("route",)), config.storage.blobs
    if config.places and own is None:
        yield (
            f"{origin}: [[route]] bucket is of an S3 store, and files are in data_dir: set [storage] blobs, "
            "or leave bucket out and name a prefix"
        )
        return
    if own is None and any(one.direct for one in config.route):
        yield (
            f"{origin}: [[route]] direct lets devices send to an S3 store, and files are in data_dir: set "
            "[storage] blobs, or leave direct out"
        )
    is_linked = config.storage.presigned_s is not None or bool(config.direct_routes)
    if config.storage.presigned_endpoint is not None and not is_linked:
        text = "is of links: set presigned_s as well, or direct in a [[route]]"
        yield _told(layers, ("storage", "presigned_endpoint"), text)
    both = {one.rule.begins for one in config.route if one.direct} & {
        one.rule.begins for one in config.route if not one.direct
    }
    if both:
        yield (
            f"{origin}: [[route]] direct: two rules lead to {min(both)}, one with direct and one without: give "
            "both the same, or places of their own"
        )
    found = overlap([(own or "").rstrip("/"), *config.places])
    if found is not None:
        inner, outer = found
        yield (
            f"{origin}: [[route]] bucket: {inner} lies in {outer}, so that the files of one would be among "
            "those of the other; name places that are apart. For a folder below [storage] blobs, leave "
            "bucket out and name a prefix"
        )


def _beside_file(key: Key, text: str, folder: Path) -> str:
    """Make paths that are relative in a file relative to that file's folder."""
    if key in _PATHS and text:
        return str(folder / text)
    if key[-1] == "listen" and text.startswith("unix:"):
        return f"unix:{folder / text.removeprefix('unix:')}"
    return text
