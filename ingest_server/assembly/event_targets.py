"""Who is told of events, as the configuration says: made here, run by the composition root."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace

from edge_host.clock import Clock
from ingest_server.assembly.fleet import Fleet
from ingest_server.auth.authentication import groups_by_device
from ingest_server.base.lead import Lead
from ingest_server.base.observer import Observer
from ingest_server.config import ServerConfig
from ingest_server.core.choosing import Wanted
from ingest_server.core.errors import SettingError
from ingest_server.core.uptime import Uptime
from ingest_server.notify import hooks
from ingest_server.notify.deliveries import Deliveries, DeliveryWorker, Target, do_nothing
from ingest_server.notify.kept_connection import WebhookError, client_context
from ingest_server.notify.webhooks import Webhook, WebhookSettings, read_secrets
from ingest_server.storage.interface import StateStore
from ingest_server.uploads.publish import BeforePublish, allow_all


def check_of(config: ServerConfig) -> BeforePublish:
    """Return what is asked before a file is published.

    Raises:
        HookError: the function cannot be loaded.
    """
    entry = config.hooks.before_publish
    if entry is None:
        return allow_all
    return hooks.before_publish(hooks.load("before_publish", entry))


def _webhooks(config: ServerConfig) -> Iterable[WebhookSettings]:
    """Return the targets: one for each address, which is told what any of its tables chooses.

    Raises:
        SettingError: tables of one address differ in how it is told.
    """
    found: dict[str, WebhookSettings] = {}
    for one in config.webhook:
        wanted = Wanted(frozenset(one.events), one.chosen)
        made = WebhookSettings(one.url, one.secret_file, (wanted,), one.allow_private, one.ca_file)
        before = found.get(one.url, made)
        if replace(before, wanted=made.wanted) != made:
            raise SettingError(
                f"[[webhook]] {one.url}: it stands there more than once, and secret_file, ca_file or "
                "allow_private differ: write the same ones, only events, match and group may differ"
            )
        found[one.url] = (
            replace(before, wanted=(*before.wanted, wanted)) if one.url in found else made
        )
    return found.values()


def deliveries_of(
    config: ServerConfig,
    state: StateStore,
    clock: Clock,
    uptime: Uptime,
    *,
    observer: Observer,
    lead: Lead,
    fleet: Fleet,
) -> Deliveries:
    """Return the workers for every webhook and hook, and for a broker; nothing runs yet.

    Raises:
        SettingError: a hook cannot be loaded, or a webhook's secret or authority cannot be read.
    """
    targets: list[Target] = []
    rests: dict[str, Callable[[], None]] = {}
    for key in hooks.TYPES:
        entry = getattr(config.hooks, key)
        if entry is not None:
            targets.append(hooks.HookTarget(key, hooks.load(key, entry)))
    for settings in _webhooks(config):
        try:
            read_secrets(settings.secret_file)
            client_context(settings.ca_file)
        except WebhookError as error:
            raise SettingError(f"[[webhook]] {settings.url}: {error}") from error
        webhook = Webhook(settings, clock)
        targets.append(webhook)
        rests[webhook.name] = webhook.rest
    targets += fleet.targets
    outbox = state.outbox
    draw = secrets.SystemRandom().random
    workers = [
        DeliveryWorker(
            target,
            outbox,
            clock,
            uptime,
            draw=draw,
            observer=observer,
            rest=rests.get(target.name, do_nothing),
            groups=lambda: groups_by_device(state.access),
        )
        for target in targets
    ]
    if fleet.broker is not None:
        [fleet.broker.on_open] = [one.is_back for one in workers if one.target in fleet.targets]
    return Deliveries(outbox, workers, lead)
