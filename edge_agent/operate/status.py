"""What `edge-agent status` knows: from the running agent, else from what it left on disk."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.clock import SystemClock, boot_id
from edge_agent.base.errors import AgentError
from edge_agent.base.settings import AgentSettings
from edge_agent.base.state_lock import DATABASE, SOCKET
from edge_agent.media import answers
from edge_agent.media.folders import Folders
from edge_agent.operate.commands import list_files
from edge_agent.operate.control_client import NotRunningError, ask
from edge_agent.report.state_document import LinkUse, StateDocuments
from edge_agent.send.rules.surroundings import hold_of_file, hold_of_order, look_at_hold_file
from edge_agent.store.orders import Orders
from edge_agent.store.recordings import Store


def read_status(settings: AgentSettings) -> dict[str, Any]:
    """Return ``running``, ``state`` (the document that goes to the broker), ``files`` and ``limits``.

    Where no agent runs, ``stopped_by`` says what people have ordered, or laid there, that keeps the next start from sending.

    Raises:
        AgentError: neither an agent nor its database is there, or this user may read neither.
    """
    try:
        answer = next(iter(ask(settings.state_dir / SOCKET, {"do": "status"})))
    except NotRunningError:
        return _without_agent(settings)
    return {"running": True, "limits": [], **answer}  # an agent from before an upgrade has none


def _without_agent(settings: AgentSettings) -> dict[str, Any]:
    path = settings.state_dir / DATABASE
    if not path.is_file():
        msg = f"the agent is not running, and there is no database in {settings.state_dir}: no agent has run with this state_dir yet"
        raise AgentError(msg)
    clock, activity = SystemClock(), Activity()
    with closing(Store.open_read_only(path, clock=clock, boot_id=boot_id())) as store:
        snapshots = StateDocuments(
            store,
            activity,
            clock,
            boot_id=boot_id(),
            folders=Folders(settings.watch),
            link=lambda: LinkUse(limit_bytes_per_s=int(settings.upload.max_rate or 0)),
            is_paused=lambda: store.orders.paused() is not None,
        )
        snapshots.phase = "stopped"
        files = list_files(store, activity.view())
        answer = {"running": False, "state": snapshots(), "files": files, "limits": []}
        return {**answer, "stopped_by": [*_orders(store.orders), *_hold_file(settings, clock)]}


def _hold_file(settings: AgentSettings, clock: SystemClock) -> list[str]:
    if settings.upload.hold_file is None:
        return []
    path = os.fsencode(settings.upload.hold_file)
    try:
        found = answers.touch_configured(path, lambda: look_at_hold_file(path, clock))
    except OSError:
        return []  # for a start it counts as not being there, too
    return [] if found is None else [hold_of_file(path, found).detail]


def _orders(orders: Orders) -> list[str]:
    paused, held = orders.paused(), orders.held()
    said = [] if paused is None else [paused.detail]
    return said if held is None else [*said, hold_of_order(held).detail]
