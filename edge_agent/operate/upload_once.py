"""`edge-agent upload FILE...`: sends files once and waits until the server has verified them.

Beside a running agent it hands the files over and follows them. Without one it takes the agent's place
for as long as it lasts: the same lane, the same memory, so what is interrupted goes on later, by either.
It deletes nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.errors import AgentError, StaleRecordingError
from edge_agent.base.helper import only_helps
from edge_agent.base.settings import AgentSettings
from edge_agent.base.state_lock import DATABASE, SOCKET, StateLock
from edge_agent.base.worker_thread import WorkerThread
from edge_agent.core.upload import Event, State
from edge_agent.media.folders import Folders
from edge_agent.media.handover import hand_over
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.operate.commands import Commands
from edge_agent.operate.control_client import NotRunningError, ask
from edge_agent.operate.upload_display import show
from edge_agent.send.wiring import make_link_watch, make_sender, make_transport, make_way
from edge_agent.store.opening import open_store
from edge_agent.store.orders import Orders
from edge_agent.store.recordings import Store

_JOIN_S = 3.0
_IDLE_S = 1.0


def upload(
    settings: AgentSettings,
    files: Sequence[Path],
    *,
    now: bool,
    clock: Clock,
    boot_id: str,
    out: TextIO,
) -> bool:
    """Send *files*, *now* or when they are finished; return whether all of them are verified.

    Raises:
        AgentError: nothing could be begun; the message says why.
    """
    paths = [os.fsencode(file.absolute()) for file in files]
    request = {"do": "upload", "paths": [os.fsdecode(path) for path in paths], "now": now}
    try:
        return show(ask(settings.state_dir / SOCKET, request), out)
    except NotRunningError:
        alone = _alone(settings, paths, now=now, clock=clock, boot_id=boot_id)
        with contextlib.closing(alone) as answers:
            return show(answers, out)


def _alone(
    settings: AgentSettings, paths: Sequence[bytes], *, now: bool, clock: Clock, boot_id: str
) -> Generator[dict[str, Any], None, None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(StateLock(settings.state_dir))
        store = open_store(settings.state_dir / DATABASE, clock=clock, boot_id=boot_id)
        stack.callback(store.close)
        _refuse_if_nobody_could_end_it(store.orders)
        folders = Folders(settings.watch)
        taken, refused = hand_over(store, paths, folders, now=now)
        yield {"refused": [{"path": one.path, "why": one.why} for one in refused]}
        if not taken:
            return
        ids = frozenset(one.id for one in taken)
        chosen = store.only(ids)
        activity = Activity()
        way = make_way(settings, store, clock)
        link = make_link_watch(settings, clock, way)
        transport = make_transport(settings, clock, link, way=way)
        stack.callback(transport.close)
        sender = make_sender(
            settings, chosen, transport, activity, clock, folders=folders, link=link, way=way
        )
        settlers = [
            StabilityCheck(one, chosen, activity, LeaseProbe(), wake_sender=sender.wake)
            for one in folders
        ]
        runners = [
            WorkerThread(
                "settler", lambda now_s: min(_settle(one, now_s) for one in settlers), clock=clock
            ),
            WorkerThread("sender", sender.step, clock=clock, woken=sender.woken),
        ]
        stack.callback(_stop, runners, sender.close)
        stack.callback(link.stop)
        with only_helps("link watch", instead="the kernel alone notices dead connections"):
            link.start()
        for runner in runners:
            runner.start()
        desk = Commands(store, activity, dict, folders=folders, wake_watcher=runners[0].wake)
        yield from desk.follow([one.id for one in taken], threading.Event())
        _keep(store, ids)


def _refuse_if_nobody_could_end_it(orders: Orders) -> None:
    """Refuse to begin what a pause or a hold without an end keeps: while this runs, neither can be ended.

    Raises:
        AgentError: says what to run first.
    """
    paused, held = orders.paused(), orders.held()
    if paused is not None and paused.for_s is None:
        why, ends_it = "paused by a person", "resume"
    elif held is not None and held.for_s is None:
        why, ends_it = "held", "release"
    else:
        return
    msg = f'nothing is sent: uploading is {why}. Run "edge-agent {ends_it}" first, then this command again'
    raise AgentError(msg)


def _settle(settler: StabilityCheck, now_s: float) -> float:
    settler.take_up(now_s)
    settler.look_at_due(now_s)
    settler.commit()
    next_look_s = settler.next_look_s()
    return _IDLE_S if next_look_s is None else min(_IDLE_S, max(0.0, next_look_s - now_s))


def _stop(runners: Sequence[WorkerThread], abort: Callable[[], None]) -> None:
    for runner in runners:
        runner.stop()
    abort()
    for runner in runners:
        runner.join(_JOIN_S)


def _keep(store: Store, ids: Iterable[str]) -> None:
    """What a person named is never let go by us, whatever the retention says."""
    for one in ids:
        recording = store.get(one)
        if recording is not None and recording.origin == "command":
            with contextlib.suppress(StaleRecordingError):
                if recording.state is State.VERIFIED:
                    store.advance(recording, Event.KEEPING)
