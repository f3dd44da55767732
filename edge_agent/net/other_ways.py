"""Another interface over which the server answers while the way that the kernel chose does not.

A wireless network without an uplink keeps the best route for hours, and the modem beside it idle. So while
the server is away it is asked over each other interface that is up and that the owner lets be used
(`may_use`). One that may not be is asked over once in each outage, so that people are told that it works.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from edge_agent.base.helper import only_helps
from edge_agent.net.interfaces import that_are_up
from edge_agent.net.way import Way

log = structlog.get_logger()

_AFTER_S = 8.0
"""Away for so long: what returns by itself is faster."""
_AGAIN_S = 30.0
_BACK_S = 60.0
"""Between two looks whether the kernel's own way works again."""
_ASKING_S = 0.25

Device = str | None
"""An interface; None: the one that the kernel chooses."""
Ended = Callable[[], bool]


def in_a_thread(work: Callable[[], None]) -> Ended:
    """Begin *work* beside what goes on; return what tells whether it has ended."""
    thread = threading.Thread(target=work, name="other-ways", daemon=True)
    thread.start()
    return lambda: not thread.is_alive()


class OtherWays:
    """Used by the thread that watches over the link, which waits for nothing here.

    Args:
        way: told which one to use.
        ask: asks the server over an interface; takes some seconds where nobody answers.
        candidates: interfaces that may be asked over.
        begin: does what takes seconds.
    """

    def __init__(
        self,
        way: Way,
        ask: Callable[[Device], bool],
        *,
        candidates: Callable[[], list[str]] = that_are_up,
        begin: Callable[[Callable[[], None]], Ended] = in_a_thread,
    ) -> None:
        self._way = way
        self._ask = ask
        self._candidates = candidates
        self._begin = begin
        self.may_use: Callable[[str], str | None] = lambda _: "nobody has allowed it"
        """Returns why the owner does not want it used; None: it may be."""
        self.is_beside_tunnel: Callable[[], bool] = lambda: False
        """Returns whether the usual way is one: then only what may be used is asked over."""
        self.is_wanted: Callable[[], bool] = lambda: True
        """Returns whether anything is to be sent now; if not, nothing is asked."""
        self._outage_s: float | None = None
        self._asked_once: set[str] = set()
        """Interfaces that may not be used and were asked over in this outage."""
        self._refused: list[str] = []
        """Those of them over which the server answered."""
        self._next_s = 0.0
        self._ended: Ended | None = None
        """Of the question that is under way."""
        self._answered: list[Device] = []

    def wait_s(self, now_s: float, lost_s: float | None) -> float | None:
        """Return the seconds until `go_on` has something to do; None: nothing is to come."""
        if self._ended is not None:
            return _ASKING_S
        if lost_s is None and self._way.device is None:
            return None
        due_s = self._next_s if lost_s is None else max(self._next_s, lost_s + _AFTER_S)
        return max(0.0, due_s - now_s)

    def go_on(self, now_s: float, lost_s: float | None) -> bool:
        """Do what is due; return whether there is a way now that was not there.

        Args:
            lost_s: since when the server is away; None: it is not.
        """
        if self._ended is not None:
            return self._ended() and self._settle(now_s, lost_s)
        if lost_s is None and self._way.device is None:
            self._way.other = None
        elif not self.wait_s(now_s, lost_s):
            self._next_s = now_s + _AGAIN_S
            if self.is_wanted():
                self._ask_over([None] if lost_s is None else self._to_ask(lost_s))
        return False

    def leave(self, why: str) -> None:
        """Go back to the way that the kernel chooses."""
        if self._way.device is not None:
            log.info("link.left", interface=self._way.device, detail=why)
            self._way.use(None)
        self._way.other = None

    def _to_ask(self, lost_s: float) -> list[str]:
        """Return the other interfaces over which the server is asked now."""
        if lost_s != self._outage_s:
            self._outage_s, self._asked_once, self._refused = lost_s, set(), []
        usual = self._way.usual
        others = [name for name in self._candidates() if name != usual]
        allowed = [name for name in others if self.may_use(name) is None]
        once = [name for name in others if name not in allowed and name not in self._asked_once]
        if self.is_beside_tunnel():
            once = []
        self._asked_once.update(once)
        return allowed + once

    def _ask_over(self, devices: Sequence[Device]) -> None:
        answered: list[Device] = []

        def ask() -> None:
            with only_helps("other links", instead="asked again in half a minute"):
                answered.extend(one for one in devices if self._ask(one))

        self._answered = answered
        self._ended = self._begin(ask)

    def _settle(self, now_s: float, lost_s: float | None) -> bool:
        self._ended = None
        self._next_s = now_s + _BACK_S
        if None in self._answered:
            self.leave("the kernel's own way works again")
            return False
        if lost_s is None:
            return False  # it answers over the one in use, and over the usual one it does not
        return self._choose(now_s, [one for one in self._answered if one is not None])

    def _choose(self, now_s: float, found: Sequence[str]) -> bool:
        usual = self._way.usual
        chosen = next((name for name in found if self.may_use(name) is None), None)
        if chosen is not None:
            if self._way.device != chosen:
                log.warning("link.other_used", interface=chosen, instead_of=usual)
                self._way.use(chosen)
            self._way.other = f"{chosen} is used, for nothing answers over {usual}"
            return True
        self._next_s = now_s + _AGAIN_S
        self._way.use(None)
        before, self._way.other = self._way.other, None
        self._refused += found
        reasons = [(name, why) for name in self._refused if (why := self.may_use(name)) is not None]
        for name, why in reasons[:1]:
            self._way.other = (
                f"the server answers over {name}, which is not used: {why}; a [[link]] rule with"
                f' match = "{name}" would use it'
            )
            if self._way.other != before:
                log.warning("link.other_works", interface=name, detail=self._way.other)
        return False
