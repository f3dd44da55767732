"""Whether the owner of the device lets a link be used now: link policy, pause, timetable, rate, clock.

Asked before each unit of work and now and then while bytes go out, so that what it says holds for
running requests as well. One per link; it knows no lane, only the roster of those that use the link.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog

from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.core.groups import Role
from edge_agent.core.link_rule import LinkRule
from edge_agent.core.recording import Recording
from edge_agent.core.schedule import SendingRules
from edge_agent.send.roster import Roster
from edge_agent.send.rules.link_policy import Foretold, LinkInUse, LinkPolicy, OwnerRules
from edge_agent.send.throttle import Throttle
from edge_agent.send.waits import Waits
from edge_agent.store.recordings import Store

log = structlog.get_logger()


class Permission:
    """Everything here is called with the lanes' lock held, but what is said to be for any thread.

    Raises:
        StoreError: from all that asks: a pause and the bytes of today are remembered there.
    """

    def __init__(
        self, policy: LinkPolicy, store: Store, roster: Roster, throttle: Throttle, waits: Waits
    ) -> None:
        self._policy = policy
        self._store = store
        self._roster = roster
        self._throttle = throttle
        self._waits = waits
        self._is_forbidden = False
        self.least_priority = 0
        """The link in use is only for recordings of at least this."""
        self.originals_from = 0
        """Originals of a lower priority wait: only what is small and says much is sent, and what is wanted now."""

    @property
    def is_paused(self) -> bool:
        """Whether a person wants nothing sent; for any thread."""
        return self._policy.is_paused

    @property
    def link_in_use(self) -> LinkInUse:
        """Over which link the lanes send, and what holds on it; for any thread."""
        return self._policy.last

    def close(self) -> None:
        """Nothing is asked any more; what was sent is written down."""
        self._policy.close(self._throttle.sent)

    @property
    def is_spent(self) -> bool:
        """Whether so much was sent that another answer is due, for a data plan's sake; for any thread."""
        return self._policy.is_spent(self._throttle.sent)

    def may_send(self, now_s: float) -> Wait | None:
        """Return why nothing may be sent now, in words for a person; None: it may.

        Running requests are broken off where they are forbidden, and kept to the allowed rate.
        """
        found = self._policy.look(now_s, self._throttle.sent, silent=self._waits.silent)
        self._throttle.limit(found.max_rate)
        self._keep_to_priority(found.min_priority)
        self._hold_originals(found)
        self._waits.note_rules(found.notes)
        if found.blocked_by is None:
            self._allow()
            return None
        self._forbid(found.blocked_by, found.detail)
        return Wait(Reason(found.blocked_by), found.detail)

    def pause(
        self, now_s: float, *, paused: bool, for_s: float | None = None, reason: str | None = None
    ) -> None:
        """Let nothing be sent until told otherwise, across restarts too, or let it go on."""
        orders = self._store.orders
        orders.pause(for_s=for_s, reason=reason) if paused else orders.resume()
        self.obey(now_s)

    def obey(self, now_s: float) -> None:
        """A person's orders are others than at the last look: let them hold at once."""
        self._policy.ask_anew()
        self.may_send(now_s)

    def link_returned(self) -> None:
        """It may be another link than the one that the last answer was for."""
        self._policy.ask_anew()

    def change(self, rules: OwnerRules, *, links: Sequence[LinkRule] | None) -> None:
        """Go by *rules* from the next question on; its links only where *links* are given."""
        kept = self._policy.rules.links if links is None else links
        self._policy.rules = replace(
            self._policy.rules, links=kept, timetable=rules.timetable, max_rate=rules.max_rate
        )
        self._policy.ask_anew()

    def go_by(self, rules: OwnerRules) -> None:
        """Go by *rules*, all of them, from the next question on."""
        self._policy.rules = rules
        self._policy.ask_anew()

    def foretell(self, foretold: Foretold) -> None:
        """Say what is said of deadlines from the next question on."""
        self._policy.foretold = foretold
        self._policy.ask_anew()

    def choose_originals(self, original: str) -> None:
        """Send originals ``always``, ``unmetered`` or ``on-demand`` from the next question on."""
        self._policy.rules = replace(self._policy.rules, original=original)
        self._policy.ask_anew()

    def lets_go(self, recording: Recording) -> bool:
        """Return whether *recording* may be sent now, where anything may."""
        if recording.priority < self.least_priority:
            return False
        return recording.role is not Role.ORIGINAL or recording.priority >= self.originals_from

    def held_originals(self) -> Wait | None:
        """Return why originals wait while others are sent; None: they do not."""
        return self._waits.originals

    def _forbid(self, blocked_by: str, detail: str) -> None:
        if not self._is_forbidden:
            self._is_forbidden = True
            self._roster.hold()
            log.info("upload.held", reason=blocked_by, detail=detail)

    def _allow(self) -> None:
        if self._is_forbidden:
            self._is_forbidden = False
            self._waits.release_rules()
            self._roster.release()

    def _hold_originals(self, found: SendingRules) -> None:
        """Let originals wait, or go again."""
        held_by, least = found.originals_held_by, found.originals_from
        self._waits.hold_originals(None if held_by is None else _of_originals(held_by))
        if least == self.originals_from:
            return
        is_wider = least < self.originals_from
        self.originals_from = least
        log.info("originals.held" if held_by else "originals.released", reason=held_by)
        if is_wider:
            self._roster.wake_idle()
            return
        for number, recording_id in self._roster.busy.items():
            recording = self._store.get(recording_id)
            if recording is not None and not self.lets_go(recording):
                self._roster.cut(number)

    def _keep_to_priority(self, least: int) -> None:
        """Let more urgent recordings be sent only, or all of them again."""
        if least == self.least_priority:
            return
        is_wider = least < self.least_priority
        self.least_priority = least
        log.info("link.restricted", least_priority=least, interface=self._policy.last.interface)
        if is_wider:
            self._roster.wake_idle()
            return
        for number, recording_id in self._roster.busy.items():
            recording = self._store.get(recording_id)
            if recording is not None and recording.priority < least:
                self._roster.cut(number)


def _of_originals(held_by: str) -> Wait:
    if held_by == "on_demand":
        return Wait(
            Reason.ON_DEMAND,
            'originals are sent when they are fetched ([groups] original), or by "edge-agent now FILE"',
        )
    detail = (
        "originals wait for a link that is not metered ([groups] original); smaller files are sent"
    )
    return Wait(Reason(held_by), detail)
