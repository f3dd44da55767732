"""Whoever listens to the demo's broker stops when told to, at whatever moment."""

import socket
import threading
from queue import SimpleQueue

import pytest

from demo.feed import Message, Operator

SEVERAL = 16
"""One alone is seldom told in the very moment."""


@pytest.mark.parametrize("is_there", [False, True], ids=["not there yet", "there"])
def test_who_is_told_to_stop_while_it_connects_to_a_broker_stops(is_there):
    messages: SimpleQueue[Message] = SimpleQueue()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if is_there:
            listener.listen(SEVERAL)
        ends = []
        for _ in range(SEVERAL):
            operator = Operator(listener.getsockname()[1], "edgeup/v1/drone-1", messages)
            operator.start()
            ends.append(threading.Thread(target=operator.stop, name="who stops it", daemon=True))
            ends[-1].start()
        for one in ends:
            one.join(10)

        assert [one.is_alive() for one in ends] == [False] * SEVERAL
