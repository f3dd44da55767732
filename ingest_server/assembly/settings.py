"""The configuration, in the words of each part that is set by it."""

from __future__ import annotations

from urllib.parse import urlsplit

from ingest_server.app import AppSettings
from ingest_server.base.settings import ReceiverSettings
from ingest_server.config import ServerConfig
from ingest_server.fleet.notice_rules import NoticeRule
from ingest_server.fleet.settings import HOUR_S, BrokerSettings, FleetSettings
from ingest_server.front.body import Patience
from ingest_server.front.http_server import ServingSettings
from ingest_server.protocols.compat.dialect import CompatSettings

DAY_S = 86400.0
_AT_START = (
    "server",
    "auth",
    "page",
    "storage",
    "protocols",
    "compat",
    "metrics",
    "hooks",
    "fleet",
)
_LISTS = ("webhook", "route", "notify")
"""Sections that are taken over by a restart alone."""


def needs_restart(old: ServerConfig, new: ServerConfig) -> list[str]:
    """Return the keys that differ and are taken over by a restart alone."""
    found = []
    for section in _AT_START:
        before, after = getattr(old, section), getattr(new, section)
        found += [
            f"[{section}] {key}"
            for key in type(before).model_fields
            if getattr(before, key) != getattr(after, key)
        ]
    found += [f"[[{one}]]" for one in _LISTS if getattr(old, one) != getattr(new, one)]
    if old.log.audit_file != new.log.audit_file:
        found.append("[log] audit_file")
    if (old.tls_files is None) != (new.tls_files is None):
        found.append("[tls] cert_file")
    if old.tls.ca_file != new.tls.ca_file:
        found.append("[tls] ca_file")
    return found


def app_settings(config: ServerConfig) -> AppSettings:
    compat = config.compat
    return AppSettings(
        config.server.public_url,
        tus=config.protocols.tus,
        ietf=config.protocols.ietf,
        cors_origins=config.protocols.cors_origins,
        compat=config.protocols.compat,
        ca_file=config.tls.ca_file,
        presigned_s=config.storage.presigned_s,
        compat_settings=CompatSettings(
            checksum=compat.checksum,
            require_checksum=compat.require_checksum,
            chunk_bytes=int(compat.chunk_size),
            retries=compat.retries,
            keep_failed=compat.keep_failed,
        ),
    )


def media_origin(config: ServerConfig) -> str | None:
    """Return from where a browser gets recordings by links, as its policy names that; None: from here."""
    said = config.storage
    if said.presigned_s is None:
        return None
    endpoint = said.presigned_endpoint or said.endpoint
    if endpoint is None:
        return "https://*.amazonaws.com"
    split = urlsplit(endpoint)
    return f"{split.scheme}://{split.netloc}"


def upload_settings(config: ServerConfig) -> ReceiverSettings:
    return ReceiverSettings(
        max_length=int(config.limits.max_length),
        max_open_uploads_per_device=config.limits.max_open_uploads_per_device,
        min_free_bytes=int(config.limits.min_free),
        quota_bytes=None if config.limits.quota is None else int(config.limits.quota),
        require_digest=config.limits.require_digest,
        idle_expiry_s=config.expiry.idle_days * DAY_S,
        keep_published_s=config.retention.published_days * DAY_S,
        scrub_s=config.retention.scrub_days * DAY_S,
        name_template=config.server.name_template,
    )


def serving_settings(config: ServerConfig) -> ServingSettings:
    return ServingSettings(
        address=config.address,
        max_uploads=config.server.threads,
        stop_timeout_s=config.server.stop_timeout_s,
        keep_alive_s=config.server.keep_alive_s,
        interim=config.protocols.ietf_104,
        behind_proxy=config.server.trust_proxy,
        max_requests_per_device=config.limits.max_requests_per_device,
        patience=Patience(
            read_timeout_s=config.limits.read_timeout_s,
            min_rate=float(config.limits.min_rate),
            min_rate_window_s=config.limits.min_rate_window_s,
        ),
    )


def fleet_settings(config: ServerConfig) -> FleetSettings:
    """Return what is kept of devices, and what of it people are told."""
    return FleetSettings(
        max_devices=config.fleet.max_devices,
        silent_s=config.fleet.silent_hours * HOUR_S,
        pending_s=config.fleet.pending_hours * HOUR_S,
        tells_failed=config.fleet.tell_failed,
    )


def notice_rules(config: ServerConfig) -> tuple[NoticeRule, ...]:
    """Return what people are told of some devices alone."""
    return tuple(
        NoticeRule(
            chosen=one.chosen,
            silent_s=None if one.silent_hours is None else one.silent_hours * HOUR_S,
            pending_s=None if one.pending_hours is None else one.pending_hours * HOUR_S,
            tells_failed=one.tell_failed,
        )
        for one in config.notify
    )


def broker_settings(config: ServerConfig) -> BrokerSettings | None:
    """Return the broker that devices report to as well; None: to this server alone."""
    fleet = config.fleet
    if fleet.mqtt_url is None:
        return None
    return BrokerSettings(
        fleet.mqtt_url,
        fleet.mqtt_username,
        fleet.mqtt_password_file,
        fleet.mqtt_ca_file,
        fleet.mqtt_topic_prefix,
        fleet.mqtt_discovery_prefix or None,
    )
