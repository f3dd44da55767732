"""Ports of the demo, and of every test that starts a server: who gets one, keeps it."""

import random
import socket
from pathlib import Path

from demo import ports
from demo.ports import LOOPBACK, free_port

HANDED_OUT = "/proc/sys/net/ipv4/ip_local_port_range"


def test_a_port_that_is_kept_through_restarts_is_none_that_clients_get():
    first, last = map(int, Path(HANDED_OUT).read_text().split())

    assert not {free_port() for _ in range(50)} & set(range(first, last + 1))


def test_the_wanted_one_is_had_unless_somebody_listens_there():
    wanted = free_port()

    assert free_port(wanted) == wanted
    with socket.create_server((LOOPBACK, wanted)):
        assert free_port(wanted) != wanted


def test_two_who_seed_the_generator_alike_get_two_ports():
    found = []
    for _ in range(2):
        random.seed(1)
        found.append(free_port())

    assert found[0] != found[1]


def test_where_the_kernel_hands_out_all_ports_it_chooses(tmp_path, monkeypatch):
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "HANDED_OUT", everything)

    assert free_port() > 0
