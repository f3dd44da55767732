"""Addresses are tried one beside the other, asleep, and what fails at once is told at once."""

import select
import socket
from contextlib import ExitStack, contextmanager
from itertools import chain, count

import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.net.connect import dial


@contextmanager
def dead_path():
    """Yield an address that swallows SYNs: that of a listener whose queue is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        yield full.getsockname()


class Stepped(SystemClock):
    """Shows one moment after the other, and notes at each whether somebody has called *listener* by then."""

    def __init__(self, listener: socket.socket, *moments: float) -> None:
        self.listener = listener
        self.moments = chain(moments, count(moments[-1] + 1))
        self.called_at: list[tuple[float, bool]] = []

    def now_s(self) -> float:
        callers, _, _ = select.select([self.listener], [], [], 0)
        self.called_at.append((next(self.moments), bool(callers)))
        return self.called_at[-1][0]


def test_an_address_that_does_not_answer_costs_a_quarter_of_a_second():
    with dead_path() as dead, socket.create_server(("127.0.0.1", 0)) as listener:
        clock = Stepped(listener, 0.0, 0.24, 0.26)

        live = dial(
            [(socket.AF_INET, dead), (socket.AF_INET, listener.getsockname())],
            options=[],
            timeout_s=5,
            clock=clock,
        )

        with live:
            assert live.getpeername() == listener.getsockname()
    # The second one is called at the last of them.
    assert clock.called_at == [(0.0, False), (0.24, False), (0.26, False)]


@pytest.mark.slow
def test_attempts_that_nobody_answers_are_waited_for_asleep():
    class Watched(SystemClock):
        looks = 0

        def now_s(self):
            self.looks += 1
            return super().now_s()

    clock = Watched()
    with dead_path() as dead, pytest.raises(TimeoutError):
        dial([(socket.AF_INET, dead)] * 4, options=[], timeout_s=2.5, clock=clock)

    assert clock.looks < 30  # it span from the eighth attempt on: a hundred thousand


def test_a_refusal_by_all_is_told_at_once():
    with pytest.raises(OSError, match="refused"):
        dial([(socket.AF_INET, ("127.0.0.1", 1))], options=[], timeout_s=5, clock=SystemClock())


def test_a_name_without_an_address_is_told_at_once():
    with pytest.raises(OSError, match="no address"):
        dial([], options=[], timeout_s=0.1, clock=SystemClock())
