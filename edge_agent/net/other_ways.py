"""Another interface over which the server answers while the way that the kernel chose does not.

A wireless network without an uplink keeps the best route for hours, and the modem beside it idle. So while
the server is away it is asked over each other interface that is up. Whether one that works is used is the
owner's to say (`may_use`); else people are told that it works.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from edge_agent.net.interfaces import that_are_up
from edge_agent.net.way import Way

log = structlog.get_logger()

_AFTER_S = 8.0
"""Away for so long: what returns by itself is faster."""
_AGAIN_S = 30.0
_BACK_S = 60.0
"""Between two looks whether the kernel's own way works again."""


class OtherWays:
    """Used by the thread that watches over the link; asking takes it some seconds for each interface.

    Args:
        way: told which one to use.
        ask: asks the server over an interface, None: over the one that the kernel chooses.
        candidates: interfaces that may be asked over.
    """

    def __init__(
        self,
        way: Way,
        ask: Callable[[str | None], bool],
        *,
        candidates: Callable[[], list[str]] = that_are_up,
    ) -> None:
        self._way = way
        self._ask = ask
        self._candidates = candidates
        self.may_use: Callable[[str], str | None] = lambda _: "nobody has allowed it"
        """Returns why the owner does not want it used; None: it may be."""
        self._next_s = 0.0

    def wait_s(self, now_s: float, lost_s: float | None) -> float | None:
        """Return the seconds until `go_on` has something to do; None: nothing is to come."""
        if lost_s is None and self._way.device is None:
            return None
        due_s = self._next_s if lost_s is None else max(self._next_s, lost_s + _AFTER_S)
        return max(0.0, due_s - now_s)

    def go_on(self, now_s: float, lost_s: float | None) -> bool:
        """Do what is due; return whether there is a way now.

        Args:
            lost_s: since when the server is away; None: it is not.
        """
        if lost_s is None and self._way.device is None:
            self._way.other = None
            return False
        if self.wait_s(now_s, lost_s):
            return False
        if lost_s is None:
            self._next_s = now_s + _BACK_S
            if self._ask(None):
                self.leave("the kernel's own way works again")
            return False
        self._next_s = now_s + _AGAIN_S
        return self._look(now_s)

    def leave(self, why: str) -> None:
        """Go back to the way that the kernel chooses."""
        if self._way.device is not None:
            log.info("link.left", interface=self._way.device, detail=why)
            self._way.use(None)
        self._way.other = None

    def _look(self, now_s: float) -> bool:
        usual = self._way.usual
        found = [name for name in self._candidates() if name != usual and self._ask(name)]
        refused = {name: why for name in found if (why := self.may_use(name)) is not None}
        chosen = next((name for name in found if name not in refused), None)
        if chosen is not None:
            self._next_s = now_s + _BACK_S
            if self._way.device != chosen:
                log.warning("link.other_used", interface=chosen, instead_of=usual)
                self._way.use(chosen)
            self._way.other = f"{chosen} is used, for nothing answers over {usual}"
            return True
        self._way.use(None)
        before, self._way.other = self._way.other, None
        for name, why in list(refused.items())[:1]:
            self._way.other = (
                f"the server answers over {name}, which is not used: {why}; a [[link]] rule with"
                f' match = "{name}" would use it'
            )
            if self._way.other != before:
                log.warning("link.other_works", interface=name, detail=self._way.other)
        return False
