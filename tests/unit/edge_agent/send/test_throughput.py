"""What the connections of the lanes moved, by the kernel's count."""

import socket
import time
from contextlib import contextmanager

from edge_agent.send.throughput import Throughput, fills_alone


@contextmanager
def connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        with ours, theirs:
            yield ours, theirs


def send(connected, length):
    """Send so many bytes and wait until the kernel knows that they have arrived."""
    ours, theirs = connected
    ours.sendall(bytes(length))
    while length:
        length -= len(theirs.recv(length))
    theirs.sendall(b"!")  # the acknowledgement comes with it at the latest
    assert ours.recv(1) == b"!"


def settled(meter, sockets, acked):
    ends_s = time.monotonic() + 5
    while (sample := meter.look(sockets, sent_bytes=0)).acked_bytes < acked:
        assert time.monotonic() < ends_s, sample
    return sample


def test_what_all_connections_acknowledged_is_added_up():
    meter = Throughput()
    with connection() as first, connection() as second:
        send(first, 30_000)
        send(second, 20_000)

        sample = settled(meter, [first[0], second[0]], 50_000)

    assert 50_000 <= sample.acked_bytes <= 50_002  # the kernel counts the SYN
    assert sample.resent_bytes == 0
    assert sample.shortest_rtt_s > 0


def test_a_new_connection_of_a_lane_counts_on():
    meter = Throughput()
    with connection() as first:
        send(first, 30_000)
        settled(meter, [first[0]], 30_000)
    meter.look([None], sent_bytes=0)

    with connection() as second:
        send(second, 20_000)

        assert settled(meter, [second[0]], 50_000).acked_bytes <= 50_002


def test_without_a_kernel_that_tells_it_is_what_was_handed_over():
    sample = Throughput().look([None, None], sent_bytes=1234)

    assert sample.acked_bytes == 1234
    assert sample.rtt_s is None


def test_a_lane_without_a_connection_does_not_fill_the_link():
    assert not fills_alone(None)


def test_cubic_does_not_fill_a_link_that_loses():
    with connection() as (ours, _):
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")

        assert not fills_alone(ours)


def test_two_connections_that_a_lane_uses_in_turns_are_each_counted_once():
    meter = Throughput()
    with connection() as first, connection() as second:
        for one in (first, second, first, second):
            before = meter.look([one[0]], sent_bytes=0).acked_bytes
            send(one, 10_000)
            settled(meter, [one[0]], before + 10_000)

    assert 40_000 <= meter.look([None], sent_bytes=0).acked_bytes <= 40_002
