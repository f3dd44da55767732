"""Watches over the link: finds connections that are dead, and notices that it has come back.

One thread. While nothing is sent and nothing is broken it sleeps until the kernel has news about an
interface. A connection on which nothing is acknowledged makes it look, with a TCP connect each second
and one question once that succeeds, whether a new connection would do better. Nothing is cut because of
silence alone: a slow link is a good link.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.helper import only_helps
from edge_agent.core import stall
from edge_agent.core.full_packets import FullPackets
from edge_agent.net.busy_connections import BusyConnection, BusyConnections, Figures
from edge_agent.net.knock import Knock, SocketAddress
from edge_agent.net.other_ways import OtherWays
from edge_agent.net.resolver import SHARED, Resolver
from edge_agent.net.rtnetlink import LinkNews
from edge_agent.net.way import NOT_SMALLER, Way

log = structlog.get_logger()

_SAMPLE_S = 0.5
_SETTLE_S = 0.1
"""News come in bursts (carrier, address, route); one look after the first few is enough."""
_JOIN_S = 2.0


class LinkMonitor:
    """Begins with `start`, ends with `stop`.

    Args:
        address: of whom to connect to: the server, or the proxy in front of it.
        ask: asks our server something over a new connection; False: it was not our server. May block
            for seconds.
        on_return: called when the link or the server was away and now answers.
        way: told when full packets are lost.
        others: looks for another way while the server is away.
    """

    def __init__(
        self,
        address: SocketAddress,
        *,
        ask: Callable[[], bool],
        on_return: Callable[[], None],
        clock: Clock,
        names: Resolver = SHARED,
        way: Way | None = None,
        others: OtherWays | None = None,
    ) -> None:
        self._way = Way() if way is None else way
        self._full_packets = FullPackets()
        self.others = OtherWays(self._way, lambda _: False) if others is None else others
        self._knock = Knock(address, names)
        self._ask = ask
        self.on_return = on_return
        self.on_still: Callable[[str | None], object] = lambda _: None
        """Called with the reason why no request moves, and with None once one does."""
        self._clock = clock
        self._lock = threading.Lock()
        self._busy = BusyConnections(clock)
        self._lost_s: float | None = None
        """Since when requests break; None: the last one got through."""
        self._still: str | None = None
        self._is_stopping = False
        self._is_asleep = False
        self._wake_fd = -1
        self._news = _news()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        """Begin to watch.

        Raises:
            OSError, RuntimeError: no descriptor or no thread is left; nobody watches then.
        """
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread.start()

    def stop(self, join_s: float = _JOIN_S) -> None:
        """End the thread, for good; a question that is under way may outlive this by seconds."""
        with self._lock:
            was_stopping, self._is_stopping = self._is_stopping, True
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(join_s)
        elif not was_stopping:
            self._close()

    def begin(self, line: BusyConnection) -> None:
        """A request is about to be sent on *line*."""
        self._busy.begin(line)
        self._wake()

    def end(self, line: BusyConnection, *, was_answered: bool | None) -> None:
        """The request is over: answered, whatever the answer, or broken; None: ended by ourselves."""
        self._busy.end(line)
        with self._lock:
            if was_answered:
                self._lost_s = None
            elif was_answered is False and self._lost_s is None:
                self._lost_s = self._clock.now_s()
        if was_answered is False:
            self._wake()

    def is_away(self) -> bool:
        """Return whether the server cannot be reached now, as far as requests show; from any thread."""
        if self._lost_s is not None:
            return True
        return any(stall.is_silent(flow) for _, _, flow in self._busy.flows())

    def figures(self) -> Figures:
        """Return how the connections do that are busy now; from any thread."""
        return self._busy.figures()

    def _wake(self) -> None:
        with self._lock:
            if self._wake_fd >= 0 and (self._is_asleep or self._is_stopping):
                os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                # Whatever fails: without this thread no dead connection is found any more.
                is_done = False
                with only_helps("link watch", instead="tried again each half second"):
                    self._turn()
                    is_done = True
                if not is_done:
                    threading.Event().wait(_SAMPLE_S)
        finally:
            self._close()

    def _close(self) -> None:
        self._knock.end()
        if self._news is not None:
            self._news.close()
        with self._lock:
            if self._wake_fd >= 0:
                os.close(self._wake_fd)
            self._wake_fd = -1

    def _turn(self) -> None:
        """Wait for one thing to happen, and do what follows from it."""
        ready = self._wait()
        now_s = self._clock.now_s()
        if self._news is not None and self._news.fileno() in ready:
            self._on_news(now_s)
        if self._knock.fileno() in ready:
            self._on_connected()
        with only_helps("other links", instead="the kernel's own way is waited for"):
            if self.others.go_on(now_s, self._lost_s):
                self._returned()
        if self._look_at_lines() or self._lost_s is not None:
            self._knock.go_on(now_s, 0.0 if self._lost_s is None else now_s - self._lost_s)
        else:
            self._knock.start_over()
            self._knock.end()

    def _wait(self) -> set[int]:
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        if self._news is not None:
            poll.register(self._news.fileno(), select.POLLIN)
        if (knock := self._knock.fileno()) is not None:
            poll.register(knock, select.POLLOUT)
        with self._lock:
            wait_s = self._wait_s(self._clock.now_s())
            self._is_asleep = wait_s is None or not self._busy
            if self._is_stopping:
                wait_s = 0
        ready = {fd for fd, _ in poll.poll(None if wait_s is None else wait_s * 1000)}
        with self._lock:
            self._is_asleep = False
        if self._wake_fd in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake_fd)
        return ready

    def _wait_s(self, now_s: float) -> float | None:
        waits = [_SAMPLE_S] if self._busy else []
        knock_s = self._knock.wait_s(now_s, is_wanted=self._lost_s is not None)
        if knock_s is not None:
            waits.append(knock_s)
        others_s = self.others.wait_s(now_s, self._lost_s)
        if others_s is not None:
            waits.append(others_s)
        return max(0.0, min(waits)) if waits else None

    def _look_at_lines(self) -> bool:
        """Return whether some connection is silent."""
        is_silent = False
        flows = self._busy.flows()
        self._tell_of_still([stall.why_still(flow) for _, _, flow in flows])
        for _, live, flow in flows:
            self._full_packets.moved(flow.gained)
            if stall.is_silent(flow):
                is_silent = True
            else:
                with contextlib.suppress(OSError):
                    self._knock.last_peer = live.getpeername()[:2]
        return is_silent

    def _tell_of_still(self, why: list[str | None]) -> None:
        still = why[0] if why and None not in why else None
        if still != self._still:
            before, self._still = self._still, still
            if before is None:  # keepalives change the reason while an answer is waited for
                log.warning("link.still", detail=still, action="none: it goes on by itself")
            self.on_still(still)

    def _on_news(self, now_s: float) -> None:
        threading.Event().wait(_SETTLE_S)
        is_good = self._read_news()
        for line in self._busy.without_address():
            log.info("link.address_gone")
            line.cut()
        if is_good:
            self._busy.ask_the_other_side()
            self._knock.again_at_once(now_s)

    def _read_news(self) -> bool:
        if self._news is None:
            return False
        with only_helps("link news", instead="looks each second do without"):
            return self._news.read()
        self._news.close()
        self._news = None
        return True

    def _would_help(self) -> bool:
        """Return whether anything follows from knowing that the server is there."""
        if self._lost_s is not None:
            return True
        return any(stall.is_lost(flow) for _, _, flow in self._busy.flows())

    def _on_connected(self) -> None:
        if not self._knock.was_answered() or not self._would_help() or not self._ask():
            return
        self._knock.start_over()
        for line, _, flow in self._busy.flows():
            if stall.is_lost(flow):
                log.info("link.cut", silent_s=round(flow.silent_s, 2), retry_s=flow.retry_s)
                self._suspect_packets(line, flow)
                line.cut()
        if self._lost_s is not None:
            self.others.leave("the server answers over the kernel's own way")
        self._returned()

    def _returned(self) -> None:
        with self._lock:
            was_lost, self._lost_s = self._lost_s is not None, None
        if was_lost:
            log.info("link.returned")
            self._busy.ask_the_other_side()
            self.on_return()

    def _suspect_packets(self, line: BusyConnection, flow: stall.Flow) -> None:
        """Let the next connections send smaller packets, if it is the full ones that are lost."""
        began_s = self._busy.began_s(line)
        if began_s is None or not self._full_packets.stood_still(
            began_s, self._clock.now_s(), gained=flow.gained, timeouts=flow.timeouts
        ):
            return
        if not self._way.sets_packets:
            log.warning("link.stalled", action=NOT_SMALLER)
        elif self._way.lost_full_packets():
            log.warning(
                "link.limited",
                max_segment=self._way.learned.max_segment,
                action="packets of full size are lost on the way, and nobody says so (MTU): smaller ones"
                " are sent for a day; set the MTU of the interface, or let ICMP pass",
            )


def address_of(url: str) -> SocketAddress:
    """Return the host and port that *url* leads to first."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme.lower() == "https" else 80)


def _news() -> LinkNews | None:
    with only_helps("link news", instead="looks each second do without"):
        try:
            return LinkNews()
        except OSError as error:
            log.info("link.no_news", error=str(error), action="looks each second do without")
    return None
