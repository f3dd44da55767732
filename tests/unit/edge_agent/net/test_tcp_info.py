"""What the kernel says of a connection only helps: whatever goes wrong there, who asks goes on."""

import socket

import pytest

from edge_agent.net import tcp_info


@pytest.mark.parametrize(
    ("asked", "inner", "without"),
    [(tcp_info.read, "_read", None), (tcp_info.congestion_control, "_congestion_control", "")],
    ids=["figures", "congestion control"],
)
def test_whoever_asks_goes_on_whatever_is_raised(asked, inner, without, monkeypatch):
    def raises(live):
        raise RuntimeError(live)

    monkeypatch.setattr(tcp_info, inner, raises)
    with socket.socket() as live:
        assert asked(live) == without


def test_a_closed_connection_has_no_congestion_control():
    with socket.socket() as live:
        pass

    assert tcp_info.congestion_control(live) == ""
