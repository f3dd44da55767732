"""The parts that send, made from the settings: for the agent, and for commands that send without it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.credentials import FOR_SERVER, read_secret
from edge_agent.base.errors import (
    ConfigError,
    LinkDownError,
    NotOurServerError,
    SourceError,
    TransportError,
)
from edge_agent.base.helper import only_helps
from edge_agent.base.settings import AgentSettings
from edge_agent.core import bag_list
from edge_agent.core.upload import State
from edge_agent.media.folders import Folders
from edge_agent.media.source import Source
from edge_agent.net.endpoint import Endpoint
from edge_agent.net.interfaces import tunnel_among
from edge_agent.net.link_monitor import LinkMonitor, address_of
from edge_agent.net.other_ways import OtherWays
from edge_agent.net.resolver import SHARED
from edge_agent.net.route import interface_to
from edge_agent.net.way import Way
from edge_agent.send.clients.interface import LaneClient
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.description import Descriptions
from edge_agent.send.group_telling import GroupTelling
from edge_agent.send.lane_factory import LaneFactory
from edge_agent.send.rules.deadlines import Deadlines
from edge_agent.send.rules.link_policy import LinkPolicy, OwnerRules, why_not_used
from edge_agent.send.sender import Sender
from edge_agent.send.while_recording import WhileRecording
from edge_agent.store.recordings import Store

_NOTE, _MEMORY = "limits_of_ways", "memory of the way"
_ASK_S = 5.0
"""For questions that are asked again, so that patience is not needed."""


def endpoint_of(settings: AgentSettings, way: Way) -> Endpoint:
    """Return the configured server, as it is reached over *way*."""
    server, upload = settings.server, settings.upload
    return Endpoint(
        url=server.url,
        ca_file=server.ca_file,
        client_cert_file=server.client_cert_file,
        client_key_file=server.client_key_file,
        proxy=server.proxy,
        idle_timeout_s=upload.idle_timeout_seconds,
        congestion_control=upload.congestion_control,
        dscp=upload.dscp,
        way=way,
    )


def make_transport(
    settings: AgentSettings,
    clock: Clock,
    link: LinkMonitor | None = None,
    *,
    with_token: bool = True,
    way: Way | None = None,
) -> NativeClient:
    """Return a lane to the configured server, watched by *link*, over *way*.

    Raises:
        ConfigError: a file for TLS or the proxy cannot be used.
    """
    token_file = settings.server.token_file
    return NativeClient(
        endpoint_of(settings, Way() if way is None else way),
        token=lambda: read_secret(FOR_SERVER, token_file) if with_token else None,
        utc=clock.now_utc,
        watch=link,
    )


def make_way(settings: AgentSettings, store: Store, clock: Clock) -> Way:
    """Return what is learned of the way to the server, as it was remembered for this URL."""
    server = settings.server
    address = address_of(server.proxy or server.url)
    url = f"{server.proxy} {server.url}"
    remembered: dict[str, Any] | None = None
    before_s = 0.0
    with only_helps(_MEMORY, instead="its limits are found out anew"):
        kept = store.notes.get(_NOTE) or {}
        remembered = kept["ways"] if kept.get("url") == url else None
        before_s = store.running.now_s() - clock.now_s()
    return Way(
        interface=lambda: interface_to(address[0], SHARED.foreseen(*address, clock.now_s())),
        now_s=lambda: before_s + clock.now_s(),
        remembered=remembered,
        keep=lambda ways: store.notes.put(_NOTE, {"url": url, "ways": ways}),
    )


def make_link_watch(settings: AgentSettings, clock: Clock, way: Way) -> LinkMonitor:
    """Return what looks after the lanes over *way*; it runs when it is started.

    Raises:
        ConfigError: a file for TLS or the proxy cannot be used.
    """
    server = settings.server
    return LinkMonitor(
        address_of(server.proxy or server.url),
        ask=lambda: answers(settings, clock),
        on_return=lambda: None,
        clock=clock,
        way=way,
        others=OtherWays(way, lambda device: answers(settings, clock, device)),
    )


def answers(settings: AgentSettings, clock: Clock, device: str | None = None) -> bool:
    """Return whether the server answers, with however bad news; asked once, and not for long.

    Args:
        device: the interface to ask over; None: the one that the kernel chooses.
    """
    way = Way()
    if device is not None:
        if (settings.server.proxy or "").lower().startswith("https"):
            return False  # there a connection cannot be bound (`endpoint`)
        way.use(device)
    try:
        with make_transport(hasty(settings), clock, way=way) as transport:
            transport.probe(secrets.token_hex(16))
    except (LinkDownError, ConfigError):
        return False  # a certificate in the middle of being renewed cannot ask: soon again
    except TransportError as error:
        return not isinstance(error, NotOurServerError)
    return True


def make_receipt_client(settings: AgentSettings, clock: Clock) -> NativeClient:
    """Return a client to ask about old receipts with: one that soon says that nobody answers.

    Raises:
        ConfigError: a file for TLS or the proxy cannot be used.
    """
    return make_transport(hasty(settings), clock)


def hasty(settings: AgentSettings) -> AgentSettings:
    """Return *settings* for questions that are asked again, so that patience is not needed."""
    upload = settings.upload.model_copy(update={"idle_timeout_seconds": _ASK_S})
    return settings.model_copy(update={"upload": upload})


def make_sender(
    settings: AgentSettings,
    store: Store,
    client: LaneClient,
    activity: Activity,
    clock: Clock,
    *,
    folders: Folders,
    link: LinkMonitor,
    way: Way,
    on_verified: Callable[[], None] = lambda: None,
) -> Sender:
    """Return the sender of what is in *folders*; *link* tells it when the link returns, it calls *on_verified* for each receipt."""
    policy = LinkPolicy(store, clock, interface=way.interface)
    policy.rules = owner_rules(settings)
    factory = LaneFactory(
        store,
        Source.open,
        activity,
        clock,
        credential=client.credential,
        descriptions=Descriptions(store, settings.device_id, folders.metadata_of, folders.appends),
        jitter=secrets.SystemRandom().random,
        way=way,
        link_policy=policy,
        on_verified=on_verified,
    )
    sender = Sender(
        factory,
        client,
        settings.upload,
        more=lambda: make_transport(settings, clock, link, way=way),
    )
    link.on_return = sender.link_returned
    link.on_still = sender.link_is_still
    way.on_changed = policy.ask_anew
    way.congestion_control = policy.congestion_control
    way.usual_congestion_control = settings.upload.congestion_control

    def tunnel() -> str | None:
        return tunnel_among(way.usual, interface_to(""))

    link.others.may_use = lambda name: why_not_used(
        name, policy.rules.links, tunnel(), policy.facts(name), is_due=policy.foretold.is_near
    )
    link.others.is_beside_tunnel = lambda: tunnel() is not None
    link.others.is_wanted = lambda: not policy.last.verdict.holds_every_link
    return sender


def owner_rules(settings: AgentSettings) -> OwnerRules:
    """Return what *settings* say of when and over which link recordings are sent."""
    upload, hold_file = settings.upload, settings.upload.hold_file
    return OwnerRules(
        [one.rule() for one in settings.link],
        upload.slots(),
        upload.max_rate,
        settings.groups.original,
        deadlines=[one.rule() for one in settings.deadline],
        power=settings.power.rule(),
        plans={one.name: one.rule() for one in settings.plan},
        hold_file=None if hold_file is None else os.fsencode(hold_file),
    )


def make_deadlines(
    settings: AgentSettings, store: Store, sender: Sender, activity: Activity, clock: Clock
) -> Deadlines:
    """Return what has *sender* send in time what has a deadline."""
    made = Deadlines(
        store,
        activity,
        clock,
        link=lambda: sender.link_in_use,
        tell=sender.foretell,
        obey=sender.obey,
    )
    made.go_by(owner_rules(settings).deadlines)
    return made


def make_group_telling(
    settings: AgentSettings,
    store: Store,
    sender: Sender,
    clock: Clock,
    *,
    link: LinkMonitor,
    way: Way,
) -> GroupTelling:
    """Return what tells the server of groups, while *sender* may send and *link* is there."""

    def listed(number: int) -> list[str] | None:
        recording = store.numbered(number)
        if recording is None or recording.state in (State.SEEN, State.GROWING):
            return None
        try:
            with Source.open(recording.path) as source:
                length = min(source.identity.length, bag_list.MOST_BYTES)
                return bag_list.listed_files(source.read(0, length))
        except SourceError:
            return None

    return GroupTelling(
        store.groups,
        lambda: make_transport(hasty(settings), clock, way=way),
        device_id=settings.device_id,
        listed=listed,
        may_send=lambda: sender.link_in_use.verdict.blocked_by is None and not link.is_away(),
        jitter=secrets.SystemRandom().random,
    )


def make_while_recording(
    settings: AgentSettings,
    sender: Sender,
    folders: Folders,
    clock: Clock,
    *,
    link: LinkMonitor,
    way: Way,
) -> WhileRecording:
    """Return what sends, beside *sender*, the recordings of *folders* that are still written to."""
    return WhileRecording(
        sender.shared,
        lambda: make_transport(settings, clock, link, way=way),
        folders,
        way=way,
        jitter=secrets.SystemRandom().random,
    )
