"""Whether the server can be reached, as all lanes together know it; else all of them wait.

A dead link, a login that is refused and a clock that is wrong concern every recording. What concerns one
recording is `failures`.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.errors import (
    ChannelError,
    ClockError,
    NotOurServerError,
    StoreError,
    TransportError,
    UnauthorizedError,
    UntrustedError,
)
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Wait
from edge_agent.core.recording import Recording
from edge_agent.send.retries import Retries
from edge_agent.send.waits import Waits
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_AUTH_FIRST_S, _AUTH_LONGEST_S, _AUTH_LOOK_S = 30.0, 300.0, 5.0
_CLOCK_LOOK_S = 2.0
_CLOCK_SET_S = 10.0
"""A clock that moved so far against the monotonic one was set; what NTP smooths is far less."""
_UNREACHABLE_AFTER = 3
_LATELY_S = 2.0
"""A link over which another lane had an answer so lately is not down; this connection is."""


class Reach:
    """Called with the lanes' lock held.

    Args:
        credential: returns something that is equal only while our login is the same.
    """

    def __init__(
        self,
        store: Store,
        credential: Callable[[], bytes | None],
        activity: Activity,
        *,
        clock: Clock,
        waits: Waits,
        retries: Retries,
    ) -> None:
        self._store = store
        self._credential = credential
        self._activity = activity
        self._clock = clock
        self._waits = waits
        self._retries = retries
        self._link_failures = 0
        self._counted_s = 0.0
        """When the last failure of the link was counted; a wait may have begun with it."""
        self._reached_s: float | None = None
        self._auth_failures = 0
        self._refused_credential: bytes | None = None
        self._is_untrusted = False
        """Whether the link is waited for because no CA of ours vouches for the server."""
        self._wrong_offset_s = 0.0
        self.link_wait: Wait | None = None
        """The reason that stays while a link that is down is tried again, until somebody answers."""
        self._still: Wait | None = None
        """Why requests do not move that are under way."""
        self.must_probe = False
        """Something else than our server answered last: ask who is there before telling it more."""

    def reached(self) -> None:
        """The server did something for us: whatever was wrong with it or the link is over."""
        self._link_failures = 0
        self._reached_s = self._clock.now_s()
        if self.link_wait is not None:
            self.link_wait = None
            self._activity.block(None)
        self._waits.release_link()
        self._activity.problem(ProblemCode.SERVER_UNREACHABLE, present=False)
        self._activity.problem(ProblemCode.QUOTA, present=False)
        if self._auth_failures:
            self._auth_failures = 0
            self._activity.problem(ProblemCode.AUTH_FAILED, present=False)
            self._tell(NewEvent("auth.ok", {}))

    def probed(self) -> None:
        """It is our server that answers."""
        self.must_probe = False
        self._link_failures = 0

    def link_returned(self) -> None:
        """The link was seen to work, by somebody who did not ask for anything of ours."""
        self._link_failures = 0
        self._waits.release_link()
        self._waits.release_foreign()

    def is_still(self, why: str | None) -> None:
        """Requests are under way, and nothing moves; None: something does. What else is said of it stays."""
        shown, self._still = self._still, None if why is None else Wait(Reason.LINK, why)
        if self._activity.blocked_by in {None, shown}:
            self._activity.block(self._still)

    def held_s(self, now_s: float) -> float:
        """Return the seconds until a look at what holds all lanes up; 0: nothing does.

        A new token, another file for TLS, or a clock that was set ends its wait at once.
        """
        held = self._waits.lane
        look_s = None
        is_untrusted = self._is_untrusted and held is not None and held.wait.reason is Reason.LINK
        if held is not None and (held.wait.reason is Reason.AUTH or is_untrusted):
            look_s = _AUTH_LOOK_S
            if self._credential() != self._refused_credential:
                self._waits.lane = None
        elif held is not None and held.wait.reason is Reason.CLOCK:
            look_s = _CLOCK_LOOK_S
            if abs(self._wall_offset_s() - self._wrong_offset_s) > _CLOCK_SET_S:
                self._waits.lane = None
        left_s = self._waits.lane_left_s(now_s)
        return left_s if look_s is None else min(look_s, left_s)

    def on_link_down(
        self, recording: Recording, error: TransportError, began_s: float, *, has_others: bool
    ) -> float | None:
        """Settle what follows from a request that nobody of ours answered; see `FailurePolicy`."""
        self.must_probe = self.must_probe or isinstance(error, NotOurServerError)
        if not self.must_probe and self._others_got_through(began_s, has_others=has_others):
            return None
        if self._is_counted(began_s):
            return self._waits.lane_left_s(self._clock.now_s())
        # After a restart the recording's count goes on: a reboot loop must still back off.
        self._link_failures = max(self._link_failures, recording.failures) + 1
        self._retries.count(recording)
        if self._link_failures >= _UNREACHABLE_AFTER or self.must_probe:
            self._activity.problem(ProblemCode.SERVER_UNREACHABLE, present=True)
        self.link_wait = Wait(Reason.LINK, f"{error}; tried again now", holds_all=True)
        wait_s = self._retries.delay_s(self._link_failures)
        wait_s = self._waits.hold_lane(Reason.LINK, str(error), wait_s)
        self._is_untrusted = isinstance(error, UntrustedError)
        if not self._is_untrusted:
            return wait_s
        self._refused_credential = self._credential()
        return min(wait_s, _AUTH_LOOK_S)

    def on_channel(self, error: ChannelError, began_s: float) -> float:
        """Let all wait, and ask next who is there: nothing else says whether it is all requests."""
        self.must_probe = True
        if self._is_counted(began_s):
            return self._waits.lane_left_s(self._clock.now_s())
        self._link_failures += 1
        self._activity.problem(ProblemCode.SERVER_UNREACHABLE, present=True)
        self.link_wait = Wait(Reason.LINK, f"{error}; tried again now", holds_all=True)
        return self._waits.hold_lane(
            Reason.LINK, str(error), self._retries.delay_s(self._link_failures)
        )

    def on_foreign_busy(self, began_s: float) -> float | None:
        """Count that somebody on the way says the server is busy: one that is away looks the same.

        Returns:
            The seconds that all lanes wait for that already; None: it is news.
        """
        if self._is_counted(began_s):
            return self._waits.lane_left_s(self._clock.now_s())
        self._link_failures += 1
        if self._link_failures >= _UNREACHABLE_AFTER:
            self._activity.problem(ProblemCode.SERVER_UNREACHABLE, present=True)
        return None

    def _is_counted(self, began_s: float) -> bool:
        """Return whether what befell a request that began then has been counted; else it counts now.

        A dead link, or who answers in the server's place, breaks the requests of all lanes: that is one failure.
        """
        if began_s < self._counted_s and self._waits.lane is not None:
            return True
        self._counted_s = self._clock.now_s()
        return False

    def _tell(self, event: NewEvent) -> None:
        try:
            self._store.outbox.tell(event)
        except StoreError as error:  # what only tells ends nothing of what it tells
            log.warning("event.lost", type=event.type, error=str(error))

    def _others_got_through(self, began_s: float, *, has_others: bool) -> bool:
        since_s = self._clock.now_s() - _LATELY_S if has_others else began_s
        return self._reached_s is not None and self._reached_s > min(since_s, began_s)

    def on_unauthorized(self, error: UnauthorizedError) -> float:
        """Wait for a login that is taken."""
        self._refused_credential = self._credential()
        self._auth_failures += 1
        if self._auth_failures == 1:
            self._tell(NewEvent("auth.failed", {"detail": str(error)}))
            log.error("auth.failed", detail=str(error))
        self._activity.problem(ProblemCode.AUTH_FAILED, present=True)
        wait_s = min(_AUTH_LONGEST_S, _AUTH_FIRST_S * 2.0 ** min(self._auth_failures - 1, 8))
        detail = f"the server refuses this device ({error}); nothing is lost"
        self._waits.hold_lane(Reason.AUTH, detail, wait_s)
        return min(wait_s, _AUTH_LOOK_S)

    def on_clock(self, recording: Recording, error: ClockError) -> float:
        """Wait until the clock of this device is set."""
        self._wrong_offset_s = self._wall_offset_s()
        wait_s = self._retries.delay_s(self._retries.count(recording))
        self._waits.hold_lane(Reason.CLOCK, str(error), max(wait_s, _CLOCK_LOOK_S))
        return _CLOCK_LOOK_S

    def _wall_offset_s(self) -> float:
        return self._clock.now_utc().timestamp() - self._clock.now_s()
