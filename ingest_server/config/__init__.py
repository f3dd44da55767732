"""The server's configuration: typed, frozen, read once, every fault one clear sentence.

Command line > environment (``INGEST_SERVER_SERVER__LISTEN``, two underscores between section and
key) > TOML file > defaults: `edge_host.settings`. Here are the keys, and this server's words.
"""

from ingest_server.config.keeping import (
    ExpirySection,
    LimitsSection,
    RetentionSection,
    StorageSection,
)
from ingest_server.config.loading import DEFAULT_PATH, ENV_PREFIX, ServerConfig, load
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

__all__ = [
    "DEFAULT_PATH",
    "ENV_PREFIX",
    "AuthSection",
    "CompatSection",
    "ExpirySection",
    "FleetSection",
    "HooksSection",
    "LimitsSection",
    "LogSection",
    "MetricsSection",
    "NotifySection",
    "PageSection",
    "ProtocolsSection",
    "RetentionSection",
    "RouteSection",
    "ServerConfig",
    "ServerSection",
    "StorageSection",
    "TlsSection",
    "WebhookSection",
    "load",
]
