"""Takes recordings from STABLE to VERIFIED: makes the lanes, and makes more of them when they pay.

Which calls, in which order::

    factory = LaneFactory(store, Source.open, activity, clock, ...)         # what the lanes share
    sender = Sender(factory, client, settings, ...)                         # no thread runs, nothing is sent
    WorkerThread("sender", sender.step, woken=sender.woken).start()         # the first lane; others follow
    sender.wake()             # a recording is STABLE; any thread, as often as one likes
    sender.reconfigure(...)   # new settings, for the next request on
    sender.pause(True)        # and False; remembered across restarts
    sender.obey()             # other orders in the store are others: a rate
    sender.abort()            # break all requests off; `resume` goes on
    sender.close()            # for good; then close the first client, which whoever made it owns

Not supported: `step` from two threads at once, a second `Sender` on one store, a step after `close`.
Nothing below calls back into this class: lanes know what they share (`lane_services`), and the counter
says through the roster that lanes are lacking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConfigError, StoreError
from edge_agent.base.helper import only_helps
from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.base.worker_thread import WorkerThread
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.plan import RequestSizing
from edge_agent.send.clients.interface import LaneClient
from edge_agent.send.lane import Lane
from edge_agent.send.lane_factory import LaneFactory
from edge_agent.send.lane_services import LaneServices
from edge_agent.send.rules.link_policy import Foretold, LinkInUse, OwnerRules

log = structlog.get_logger()

_ASLEEP_S = 3600.0


def run_lane(lane: Lane, clock: Clock) -> WorkerThread:
    """Give *lane* a thread of its own."""
    runner = WorkerThread(f"lane-{lane.number}", lane.step, clock=clock, woken=lane.woken)
    runner.start()
    return runner


class Sender:
    """A worker. `step` from one thread; everything else from any.

    Args:
        factory: makes the lanes, and holds what they share.
        client: of the first lane; closed by whoever made it.
        more: makes the client of a further lane to the same endpoint; None: there is one lane, whatever
            the settings.
        run: makes a lane's thread and starts it.
    """

    def __init__(
        self,
        factory: LaneFactory,
        client: LaneClient,
        settings: UploadSettings,
        *,
        more: Callable[[], LaneClient] | None = None,
        run: Callable[[Lane, Clock], WorkerThread] = run_lane,
    ) -> None:
        self._factory = factory
        self._more = more
        self._run = run
        self._runners: list[WorkerThread] = []
        self._maker: WorkerThread | None = None
        self._is_closed = False
        self._is_short = False
        """A lane was wanted and could not be made; said already."""
        shared = factory.shared
        self._clock, self._lock = shared.clock, shared.lock
        self._roster, self._permission = shared.roster, shared.permission
        self._lanes: tuple[Lane, ...] = (factory.new_lane(client),)
        self.woken = self._lanes[0].woken
        """Set by `wake`; the runner may wait on it and clear it."""
        self.reconfigure(settings)

    def step(self, now_s: float) -> float:
        """Do one unit of the first lane's work; return the seconds until the next, 0: there is more.

        A wait above 0 while something is pending has its reason on the board.
        """
        if self._maker is None and self.shared.rates.most > 1 and not self._is_closed:
            self._maker = WorkerThread(
                "lanes", self._make_lacking, clock=self._clock, woken=self._roster.lacks_lanes
            )
            with only_helps("lanes", instead="one connection does it all"):
                self._maker.start()
        return self._lanes[0].step(now_s)

    @property
    def shared(self) -> LaneServices:
        """What the lanes have in common, for whoever sends beside them; touched with its lock held."""
        return self._factory.shared

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """All lanes that were made; those beyond the roster's count sleep."""
        return self._lanes

    def reconfigure(
        self, settings: UploadSettings, links: Sequence[LinkSettings] | None = None
    ) -> None:
        """Use *settings* from the next request on (rates at once); *links*, None: as before."""
        with self._lock:
            self._factory.retries.backoff = BackoffPolicy(
                settings.backoff_base_seconds,
                max(settings.backoff_base_seconds, settings.backoff_cap_seconds),
            )
            self.shared.rates.sizing = RequestSizing(
                settings.min_request, settings.max_request, settings.request_seconds
            )
            self._factory.way.least_request = settings.min_request
            self._permission.change(
                OwnerRules((), settings.slots(), settings.max_rate),
                links=None if links is None else [link.rule() for link in links],
            )
            with suppress(StoreError):  # it says so to the next unit of work, which looks again
                self._permission.may_send(self._clock.now_s())
            self.shared.counter.allow(1 if self._more is None else settings.max_lanes)

    def go_by(self, rules: OwnerRules) -> None:
        """Let *rules* hold, all of them, from now on."""
        with self._lock:
            self._permission.go_by(rules)
            with suppress(StoreError):
                self._permission.may_send(self._clock.now_s())

    def foretell(self, foretold: Foretold) -> None:
        """Say what is said of deadlines, from now on."""
        with self._lock:
            self._permission.foretell(foretold)

    def hold_originals(self, original: str) -> None:
        """Send originals ``always``, ``unmetered`` or ``on-demand``, from now on."""
        with self._lock:
            self._permission.choose_originals(original)
            with suppress(StoreError):
                self._permission.may_send(self._clock.now_s())

    def wake(self) -> None:
        """Say that there may be something new to send."""
        self._roster.wake()

    @property
    def is_paused(self) -> bool:
        return self._permission.is_paused

    @property
    def link_in_use(self) -> LinkInUse:
        """Over which link the lanes send, and what holds on it."""
        return self._permission.link_in_use

    def pause(self, paused: bool, *, for_s: float | None = None, reason: str | None = None) -> None:
        """Send nothing for *for_s* or until told otherwise, across restarts too, or go on."""
        with self._lock:
            self._permission.pause(self._clock.now_s(), paused=paused, for_s=for_s, reason=reason)
        self.wake()

    def obey(self) -> None:
        """A person's orders (`Store.orders`) are others now: let them hold at once.

        Raises:
            StoreError: they cannot be read; the next unit of work looks again.
        """
        with self._lock:
            self._permission.obey(self._clock.now_s())
        self.wake()

    def forget(self, recording_id: str) -> None:
        """Break off what is sent of a recording that is not to be sent, and forget how far it was."""
        with self._lock:
            shared = self._factory.shared
            shared.uploads.drop(recording_id)
            shared.waits.release(recording_id)
            for number, busy_with in self._roster.busy.items():
                if busy_with == recording_id:
                    self._roster.cut(number)
        self.wake()

    def link_returned(self) -> None:
        """Say that the link, which was away, has been seen to work: do not sit out the backoff."""
        with self._lock:
            self.shared.reach.link_returned()
            self._permission.link_returned()
        self.wake()

    def link_is_still(self, why: str | None) -> None:
        """Say why nothing moves although requests are under way; None: something does."""
        with self._lock:
            self.shared.reach.is_still(why)

    def abort(self) -> None:
        """Cut the running requests off and do nothing more until `resume`."""
        self._roster.stop()

    def resume(self) -> None:
        self._roster.resume()
        self.wake()

    def close(self, timeout_s: float = 2.0) -> None:
        """End all lanes but the first, which others run, within *timeout_s*; for good."""
        self._is_closed = True
        self.abort()
        deadline_s = self._clock.now_s() + timeout_s
        with self._lock:
            self._more = None
            runners, self._runners = self._runners, []
        if self._maker is not None:
            runners.append(self._maker)
        for runner in runners:
            runner.stop()
        for runner in runners:
            runner.join(max(0.0, deadline_s - self._clock.now_s()))
        with self._lock:
            for lane in self._lanes:
                lane.let_go()
            self._factory.shared.held.close()
            self._permission.close()
        for lane in self._lanes[1:]:
            lane.client.close()

    def _make_lacking(self, _now_s: float) -> float:
        with self._lock:
            while self._roster.size < self._roster.count and self._more is not None:
                if not self._make_one(self._more):
                    break
        return _ASLEEP_S

    def _make_one(self, more: Callable[[], LaneClient]) -> bool:
        """Make a lane and begin to run it; False: it cannot be had now."""
        try:
            client = more()
        except ConfigError as error:  # the first lane would not have been made either
            log.warning("lane.failed", problems=error.problems)
            self._more = None
            self.shared.counter.settle_for(len(self._lanes))
            return False
        except OSError as error:  # no descriptor left, say
            self._do_without(error)
            return False
        lane = self._factory.new_lane(client)
        try:
            self._runners.append(self._run(lane, self._clock))
        except RuntimeError as error:  # no thread left
            self._roster.drop_last()
            client.close()
            self._do_without(error)
            return False
        self._lanes = (*self._lanes, lane)
        self._is_short = False
        return True

    def _do_without(self, error: Exception) -> None:
        """Go on with the lanes that there are, until it is decided anew that more would pay."""
        if not self._is_short:
            self._is_short = True
            action = "goes on with fewer, tries again; short of descriptors, threads or memory"
            log.warning("lane.failed", problems=[str(error)], action=action)
        self.shared.counter.settle_for(len(self._lanes))
