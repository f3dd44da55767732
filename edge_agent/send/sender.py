"""Takes recordings from STABLE to VERIFIED: the lanes together, and how many of them there are.

The first lane is the worker that the agent runs. The others are made when they pay (`core.lanes`), each
with a connection and a thread of its own, and sleep when they do not.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from edge_agent.base.activity import Activity, Reason, Wait
from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConfigError, StoreError
from edge_agent.base.settings import LinkSettings, UploadSettings
from edge_agent.base.worker_thread import WorkerThread
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.lane_count import LaneCount, LanePolicy
from edge_agent.core.plan import RequestSizing
from edge_agent.core.schedule import SendingRules
from edge_agent.media.source import Source
from edge_agent.send.body import ThrottledBody
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.failures import FailurePolicy
from edge_agent.send.gate import LaneLock
from edge_agent.send.lane import Lane, Shared
from edge_agent.send.link_policy import LinkInUse, LinkPolicy, OwnerRules
from edge_agent.send.steps import UploadSteps, count
from edge_agent.send.throughput import Throughput, fills_alone
from edge_agent.send.upload_progress import UploadsUnderWay
from edge_agent.send.waits import Waits
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_OF_BBR = {"least": 4, "ramp": 4, "most": 4, "most_far": 3}
"""One connection with BBR fills most of a link, but stands still when the packet that it repeats is
lost as well; many push each other out of the queue. Medians of three to six runs, of the link's capacity
and of the bytes sent: `lte-bad` with 3, 4, 5 and 6 connections .89, .90, .91, .91 and 1.06, 1.06, 1.09,
1.08; `satellite` with 2, 3 and 4 .72, .78, .77."""


class Sender:
    """A worker. `step` from one thread; everything else from any.

    Args:
        transport: of the first lane; closed by whoever made it.
        source: opens a recording for reading.
        device_id: named in each create, so that a token of another device is noticed.
        jitter: draws from ``[0, 1)``.
        more: makes the transport of a further lane; None: there is one lane, whatever the settings.
        policy: when lanes are added and removed; how many at most is in the settings.
        policies: what the owner of the device allows. Default: all that the settings say.
        new_key: makes idempotency keys of at least 128 random bits.
        pause: sleeps, for the rate limit; must end early when the agent stops. Default: does.
    """

    def __init__(
        self,
        store: Store,
        transport: NativeClient,
        source: Callable[[bytes], Source],
        activity: Activity,
        settings: UploadSettings,
        *,
        clock: Clock,
        device_id: str,
        jitter: Callable[[], float],
        more: Callable[[], NativeClient] | None = None,
        policy: LanePolicy | None = None,
        policies: LinkPolicy | None = None,
        new_key: Callable[[], str] = lambda: secrets.token_hex(16),
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._more = more
        self._policy = LanePolicy() if policy is None else policy
        self._device_id = device_id
        self._new_key = new_key
        self._policies = LinkPolicy(store, clock) if policies is None else policies
        self._is_cut = False
        """The owner's rules forbid sending: running requests were cut off."""
        self._lane_count = LaneCount(replace(self._policy, most=1))
        self._meter = Throughput()
        self._most = 1
        self._fills_alone = False
        self._sizing = RequestSizing()
        self._runners: list[WorkerThread] = []
        self._is_short = False
        """A lane was wanted and could not be made; said already."""
        deliveries = UploadsUnderWay(lambda delivery: count(store, delivery))
        holds = Waits(activity, clock)
        self._shared = Shared(
            store=store,
            source=source,
            activity=activity,
            clock=clock,
            gate=LaneLock(),
            holds=holds,
            deliveries=deliveries,
            setbacks=FailurePolicy(
                store,
                transport.credential,
                activity,
                clock=clock,
                holds=holds,
                deliveries=deliveries,
                jitter=jitter,
            ),
            outflow=ThrottledBody(
                activity,
                clock,
                pause=self._stopping.wait if pause is None else pause,
                is_stopping=lambda: self._is_cut or self._stopping.is_set(),
            ),
            is_stopping=self._stopping.is_set,
            on_begin=self._judge,
            may_send=self._may_send,
            on_rest=self._lane_count.pause,
            wake_others=self._wake_others,
        )
        self._shared.outflow.on_tick = self._tick
        self._lanes: tuple[Lane, ...] = ()
        first = self._new_lane(transport)
        self.step = first.step
        """Do one unit of work; return the seconds until the next, 0 when there is more to do.

        A wait above 0 while something is pending has its reason on the board.
        """
        self.woken = first.woken
        """Set by `wake`; the runner may wait on it and clear it."""
        self.reconfigure(settings)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """All lanes that were made; those beyond `lane_count` sleep."""
        return self._lanes

    @property
    def lane_count(self) -> int:
        return self._shared.count

    @property
    def on_verified(self) -> Callable[[], None]:
        """Called after each receipt that is durable here; must return at once."""
        return self._shared.on_verified

    @on_verified.setter
    def on_verified(self, call: Callable[[], None]) -> None:
        self._shared.on_verified = call

    def reconfigure(
        self, settings: UploadSettings, links: Sequence[LinkSettings] | None = None
    ) -> None:
        """Use *settings* from the next request on (rates at once); *links*, None: as before."""
        with self._shared.gate:
            self._shared.setbacks.backoff = BackoffPolicy(
                settings.backoff_base_seconds,
                max(settings.backoff_base_seconds, settings.backoff_cap_seconds),
            )
            self._sizing = RequestSizing(
                settings.min_request, settings.max_request, settings.request_seconds
            )
            for lane in self._lanes:
                lane.work.sizing = self._sizing
            rules = self._policies.rules.links
            self._policies.rules = OwnerRules(
                rules if links is None else [link.rule() for link in links],
                settings.slots(),
                settings.max_rate,
            )
            self._policies.ask_anew()
            with suppress(StoreError):  # it says so to the next unit of work, which looks again
                self._look_at_rules(self._clock.now_s())
            self._most = 1 if self._more is None else settings.max_lanes
            self._shared.outflow.most = self._most
            self._set_policy()

    # --- from other threads -------------------------------------------------------------------

    def wake(self) -> None:
        """Say that there may be something new to send."""
        for lane in self._lanes[: self._shared.count]:
            lane.woken.set()

    @property
    def is_paused(self) -> bool:
        return self._policies.is_paused

    @property
    def seen(self) -> LinkInUse:
        """Return over which link the lanes send, and what holds on it."""
        return self._policies.last

    def pause(self, paused: bool) -> None:
        """Send nothing until told otherwise, across restarts too, or go on."""
        with self._shared.gate:
            self._policies.pause(paused=paused)
            self._look_at_rules(self._clock.now_s())
        self.wake()

    def link_returned(self) -> None:
        """Say that the link, which was away, has been seen to work: do not sit out the backoff."""
        with self._shared.gate:
            self._shared.setbacks.link_returned()
        self.wake()

    def abort(self) -> None:
        """Cut the running requests off and do nothing more until `resume`."""
        self._stopping.set()
        for lane in self._lanes:
            lane.transport.abort()
            lane.woken.set()

    def resume(self) -> None:
        for lane in self._lanes:
            if not self._is_cut:
                lane.transport.resume()
        self._stopping.clear()
        self.wake()

    def close(self, timeout_s: float = 2.0) -> None:
        """End all lanes but the first, which others run, within *timeout_s*; for good."""
        self.abort()
        with self._shared.gate:
            runners, self._runners = self._runners, []
        deadline_s = self._clock.now_s() + timeout_s
        for runner in runners:
            runner.stop()
        for runner in runners:
            runner.join(max(0.0, deadline_s - self._clock.now_s()))
        for lane in self._lanes[1:]:
            lane.transport.close()

    def make_lanes(self, wanted: int) -> None:
        """Begin with so many lanes instead of finding out that they pay."""
        with self._shared.gate:
            self._lane_count.count = self._shared.count = wanted
            self._make(wanted)

    # --- lanes --------------------------------------------------------------------------------

    def _new_lane(self, transport: NativeClient) -> Lane:
        shared = self._shared
        number = len(self._lanes)
        work = UploadSteps(
            number,
            shared.store,
            transport,
            shared.activity,
            clock=self._clock,
            gate=shared.gate,
            outflow=shared.outflow,
            device_id=self._device_id,
            new_key=self._new_key,
        )
        work.sizing = self._sizing
        lane = Lane(number, shared, transport, work)
        self._lanes = (*self._lanes, lane)
        return lane

    def _judge(self) -> None:
        """Look at how many lanes there should be. The gate is held."""
        shared = self._shared
        before = shared.count
        sockets = [lane.transport.live_socket() for lane in self._lanes]
        sample = self._meter.look(sockets, sent_bytes=shared.outflow.sent)
        shared.outflow.window_rates = self._meter.window_rates()
        shared.outflow.rtt_s = sample.shortest_rtt_s or 0.0
        if not self._fills_alone and fills_alone(sockets[0]):
            self._fills_alone = True
            self._set_policy()
        all_busy = sum(number < before for number in shared.busy) >= before
        wanted = self._lane_count.judge(
            self._clock.now_s(),
            sample,
            can_use_more=all_busy and not shared.outflow.is_held_back,
            has_stragglers=any(number >= before for number in shared.busy),
        )
        if wanted != before:
            shared.count = wanted
            self._make(wanted)
            log.debug("lanes.changed", lanes=shared.count, before=before)

    def _set_policy(self) -> None:
        limits = _OF_BBR if self._fills_alone else {"most": self._policy.most}
        policy = replace(self._policy, **limits)
        self._lane_count.policy = replace(policy, most=min(self._most, policy.most))

    def _tick(self) -> None:
        # In the middle of a body: what the store has to say, it says to the next unit of work.
        with self._shared.gate, suppress(StoreError):
            self._look_at_rules(self._clock.now_s())
            self._judge()

    def _may_send(self, now_s: float) -> Wait | None:
        verdict = self._look_at_rules(now_s)
        if verdict.blocked_by is None:
            return None
        return Wait(Reason(verdict.blocked_by), verdict.detail)

    def _look_at_rules(self, now_s: float) -> SendingRules:
        """Keep to what the owner's rules say now, in running requests as well. The gate is held."""
        verdict = self._policies.look(now_s, self._shared.outflow.sent)
        self._shared.outflow.limit(verdict.max_rate)
        self._keep_to_priority(verdict.min_priority)
        is_forbidden = verdict.blocked_by is not None
        if is_forbidden != self._is_cut:
            self._is_cut = is_forbidden
            if is_forbidden:
                for lane in self._lanes:
                    lane.transport.abort()
                log.info("upload.held", reason=verdict.blocked_by, detail=verdict.detail)
            else:
                self._shared.holds.release_rules()
                if not self._stopping.is_set():
                    for lane in self._lanes:
                        lane.transport.resume()
        return verdict

    def _keep_to_priority(self, least: int) -> None:
        """Begin to send more urgent recordings only, or all of them again. The gate is held."""
        shared = self._shared
        if least == shared.least_priority:
            return
        is_wider = least < shared.least_priority
        shared.least_priority = least
        log.info("link.restricted", least_priority=least, interface=self._policies.last.interface)
        if is_wider:
            self._wake_others()
            return
        for number, recording_id in shared.busy.items():
            recording = shared.store.get(recording_id)
            if recording is not None and recording.priority < least:
                self._lanes[number].transport.cut()

    def _make(self, wanted: int) -> None:
        while len(self._lanes) < wanted and self._more is not None:
            try:
                transport = self._more()
            except ConfigError as error:  # the first lane would not have been made either
                log.warning("lane.failed", problems=error.problems)
                self._more = None
                self._shared.count = len(self._lanes)
                return
            except OSError as error:  # no descriptor left, say
                self._do_without(error)
                return
            lane = self._new_lane(transport)
            if self._stopping.is_set():
                transport.abort()
            try:
                self._runners.append(self._run(lane))
            except RuntimeError as error:  # no thread left
                self._lanes = self._lanes[:-1]
                transport.close()
                self._do_without(error)
                return
            self._is_short = False

    def _do_without(self, error: Exception) -> None:
        """Go on with the lanes that there are, until it is decided anew that more would pay."""
        if not self._is_short:
            self._is_short = True
            action = "goes on with fewer, tries again; short of descriptors, threads or memory"
            log.warning("lane.failed", problems=[str(error)], action=action)
        self._lane_count.count = self._shared.count = len(self._lanes)

    def _run(self, lane: Lane) -> WorkerThread:
        name = f"lane-{lane.number}"
        runner = WorkerThread(name, lane.step, clock=self._clock, woken=lane.woken)
        runner.start()
        return runner

    def _wake_others(self) -> None:
        """A unit of work is done: there may be something for lanes that found nothing."""
        shared = self._shared
        for lane in self._lanes[: shared.count]:
            if lane.number not in shared.busy:
                lane.woken.set()
