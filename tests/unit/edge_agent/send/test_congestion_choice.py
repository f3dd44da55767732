"""Which congestion control a link gets where the owner wants that to be measured, on real sockets."""

import errno
import socket
from typing import Any

import pytest

from edge_agent.core.congestion_trial import CongestionTrial, TrialPolicy
from edge_agent.core.link_rule import LinkRule
from edge_agent.net import tcp_info
from edge_agent.net.socket_options import try_congestion_control
from edge_agent.net.way import Way
from edge_agent.operate.link_use import congestion_reason
from edge_agent.send.congestion_choice import CongestionChoice

QUICK = TrialPolicy(settle_s=1.0, turn_s=2.0)


@pytest.fixture
def live():
    for control in ("bbr", "cubic"):
        try:
            try_congestion_control(control)
        except OSError:
            pytest.skip(f"this kernel has no {control}")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as ours,
        listener.accept()[0],
    ):
        yield ours


class Link:
    def __init__(self, live, *, faster="cubic", remembered=None):
        self.kept: dict[str, Any] = {}
        self.interface = "wwan0"
        self.now_s, self.acked = 100.0, 0
        self.way = Way(
            interface=lambda: self.interface,
            now_s=lambda: self.now_s,
            remembered=remembered,
            keep=self.kept.update,
        )
        self.way.usual_congestion_control = "measured"
        self.live, self.faster = live, faster
        self.choice = CongestionChoice(self.way, new_trial=lambda: CongestionTrial(QUICK))
        self.used: list[str] = []

    def step(self, *, is_busy=True):
        self.now_s += 0.25
        control = tcp_info.congestion_control(self.live)
        self.acked += 250 if control == self.faster else 100
        self.choice.look(self.now_s, self.acked, [self.live, None], is_busy=is_busy)
        now = tcp_info.congestion_control(self.live)
        if now not in self.used[-1:]:
            self.used.append(now)

    def run(self, steps=80, **more):
        for _ in range(steps):
            self.step(**more)

    def asked_of_the_kernel(self):
        """Return what a new connection asks for beside what all ask for."""
        return [value for _, name, value in self.way.options() if name == socket.TCP_CONGESTION]


@pytest.mark.parametrize("faster", ["bbr", "cubic"])
def test_the_one_that_moved_more_is_used_by_old_and_new_connections_and_kept(live, faster):
    link = Link(live, faster=faster)

    link.run()

    assert link.used[:3] == ["bbr", "cubic", "bbr"]
    assert link.used[-1] == faster
    assert link.asked_of_the_kernel() == [faster.encode()]
    assert link.kept["wwan0"]["congestion_control"] == faster
    rates = {"bbr": "400 B/s", "cubic": "400 B/s"} | {faster: "1.0 kB/s"}
    assert congestion_reason(link.way, None, faster) == (
        f"measured: bbr moved {rates['bbr']}, cubic {rates['cubic']}"
    )


def test_after_a_restart_nothing_is_measured_again_and_after_a_day_it_is(live):
    first = Link(live)
    first.run()

    again = Link(live, remembered=first.kept)
    again.run(4)
    assert again.asked_of_the_kernel() == [b"cubic"]
    assert again.used == ["cubic"]

    again.now_s += 86_500
    again.run(1)
    assert again.way.is_to_be_measured
    assert tcp_info.congestion_control(live) == "bbr"


def test_another_link_is_measured_for_itself(live):
    link = Link(live)
    link.run()
    link.interface, link.faster = "wlan0", "bbr"

    link.run()

    assert {name: one["congestion_control"] for name, one in link.kept.items()} == {
        "wwan0": "cubic",
        "wlan0": "bbr",
    }


def test_while_something_else_holds_the_lanes_back_nothing_is_measured(live):
    link = Link(live)
    before = tcp_info.congestion_control(live)

    link.run(is_busy=False)

    assert link.used == [before]
    assert link.way.is_to_be_measured
    assert link.kept == {}


def test_a_moment_between_two_recordings_is_no_gap_and_a_pause_is_one(live):
    short, long = Link(live), Link(live)

    for number in range(56):
        short.step(is_busy=number % 4 != 3)
    for number in range(56):
        long.step(is_busy=number % 24 < 12)  # no turn ends before a gap of three seconds

    assert short.way.learned.congestion_control == "cubic"
    assert long.way.is_to_be_measured


def test_where_the_owner_says_which_one_nothing_is_tried(live):
    link = Link(live)
    link.way.congestion_control = lambda _: "cubic"
    before = tcp_info.congestion_control(live)

    link.run()

    assert link.used == [before]
    assert link.asked_of_the_kernel() == [b"cubic"]


def test_a_kernel_that_lacks_one_leaves_nothing_to_measure(live):
    def refuse(name):
        if name == "bbr":
            raise OSError(errno.ENOENT, "no such congestion control")

    link = Link(live)
    link.choice = CongestionChoice(link.way, try_it=refuse)
    before = tcp_info.congestion_control(live)

    link.run()

    assert link.used == [before]


@pytest.mark.parametrize(
    ("rule", "usual", "used", "said"),
    [
        (None, "auto", "bbr", "auto: the kernel offers bbr"),
        (None, "auto", "cubic", "auto: the kernel does not offer bbr"),
        (None, "cubic", "cubic", "[upload] congestion_control says so"),
        ("cubic", "auto", "cubic", '[[link]] match = "wwan*" says so'),
        (
            "bbr",
            "auto",
            "cubic",
            '[[link]] match = "wwan*" wants bbr, which the kernel does not offer: run edge-agent check',
        ),
        ("measured", "auto", "bbr", "to be measured while recordings are sent"),
    ],
)
def test_the_reason_is_one_that_a_person_can_act_on(rule, usual, used, said):
    way = Way()
    way.usual_congestion_control = usual
    owners = None if rule is None else LinkRule("wwan*", congestion_control=rule)

    assert congestion_reason(way, owners, used) == said
