"""What is asked of a socket, where this kernel can do it."""

import socket

import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.core.packets import DSCP
from edge_agent.net import socket_options
from edge_agent.net.connect import dial


def test_an_option_that_this_kernel_lacks_is_left_out():
    unknown = (socket.IPPROTO_TCP, 9999, 1)
    no_such_control = (socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"nosuchcontrol")
    good = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    assert socket_options.accepted([unknown, no_such_control, good]) == [good]


def test_a_dead_link_is_found_by_the_kernel_in_twenty_seconds():
    assert (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000) in socket_options.accepted(
        socket_options.wanted("auto")
    )


@pytest.mark.parametrize(
    ("address", "level", "option"),
    [
        ("127.0.0.1", socket.IPPROTO_IP, socket.IP_TOS),
        ("::1", socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
    ],
)
def test_the_mark_is_on_the_socket_before_it_is_connected(address, level, option):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    options = socket_options.accepted(socket_options.wanted("auto", dscp=DSCP["le"]))

    with socket.create_server((address, 0), family=family) as listener:
        peer = (family, (address, listener.getsockname()[1]))
        with dial([peer], options=options, timeout_s=3, clock=SystemClock()) as live:
            assert live.getsockopt(level, option) & 0xFC == 1 << 2


def test_without_a_mark_the_sockets_are_left_as_they_are():
    levels = {level for level, _, _ in socket_options.wanted("auto", dscp=0)}

    assert levels == {socket.SOL_SOCKET, socket.IPPROTO_TCP}
