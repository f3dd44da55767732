"""Addresses are tried one beside the other, asleep, and what fails at once is told at once."""

import socket
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

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


def test_an_address_that_does_not_answer_costs_a_quarter_of_a_second():
    with dead_path() as dead, socket.create_server(("127.0.0.1", 0)) as listener:
        began = datetime.now(UTC)

        live = dial(
            [(socket.AF_INET, dead), (socket.AF_INET, listener.getsockname())],
            options=[],
            timeout_s=5,
            clock=SystemClock(),
        )

        took = (datetime.now(UTC) - began).total_seconds()
        with live:
            assert live.getpeername() == listener.getsockname()
        assert took < 0.5


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
