"""When other interfaces are asked over, which one is used, and when it is left."""

import threading

import pytest

from edge_agent.net.interfaces import is_tunnel, that_are_up
from edge_agent.net.other_ways import OtherWays, in_a_thread
from edge_agent.net.way import Way


class Machine:
    """A machine with wlan0, which the kernel prefers, wwan0 and eth0."""

    def __init__(self) -> None:
        self.works: set[str | None] = set()
        self.asked: list[str | None] = []
        self.forbidden: dict[str, str] = {}
        self.way = Way(interface=lambda: "wlan0")
        self.others = OtherWays(
            self.way,
            self.ask,
            candidates=lambda: ["eth0", "wlan0", "wwan0"],
            begin=self.begin,
        )
        self.others.may_use = self.forbidden.get

    def begin(self, work):
        work()
        return lambda: True

    def look(self, now_s, lost_s):
        """Let it ask, and take in the answers."""
        assert not self.others.go_on(now_s, lost_s)
        return self.others.go_on(now_s, lost_s)

    def ask(self, device):
        self.asked.append(device)
        return device in self.works


@pytest.fixture
def machine():
    return Machine()


def test_nobody_is_asked_while_the_server_answers_or_was_away_for_seconds(machine):
    assert machine.others.wait_s(100.0, None) is None
    assert machine.others.wait_s(100.0, 95.0) == 3.0
    assert not machine.look(100.0, 95.0)
    assert machine.asked == []


def test_the_first_that_works_and_may_be_used_is_used_until_the_usual_one_works(machine):
    machine.works = {"wwan0"}

    assert machine.look(100.0, 90.0)
    assert machine.asked == ["eth0", "wwan0"]
    assert (machine.way.device, machine.way.interface()) == ("wwan0", "wwan0")
    assert machine.others.wait_s(101.0, None) == 59.0

    machine.look(161.0, None)
    assert machine.way.device == "wwan0"
    machine.works = {None, "wwan0"}
    machine.look(222.0, None)
    assert (machine.way.device, machine.way.other) == (None, None)


def test_one_that_may_not_be_used_is_named_with_the_rule_that_would(machine):
    machine.works, machine.forbidden["wwan0"] = {"wwan0"}, "it is metered"

    assert not machine.look(100.0, 90.0)

    assert machine.way.device is None
    assert machine.way.other == (
        "the server answers over wwan0, which is not used: it is metered; a [[link]] rule with"
        ' match = "wwan0" would use it'
    )
    assert machine.others.wait_s(101.0, 90.0) == 29.0


def test_one_that_may_not_be_used_is_asked_over_once_in_each_outage(machine):
    machine.works, machine.forbidden["wwan0"] = {"wwan0"}, "it is metered"

    for now_s in (100.0, 131.0, 162.0):
        machine.look(now_s, 90.0)
    told = machine.way.other
    machine.look(900.0, 800.0)

    assert machine.asked == ["eth0", "wwan0", "eth0", "eth0", "eth0", "wwan0"]
    assert "the server answers over wwan0" in told


def test_one_that_is_allowed_meanwhile_is_used(machine):
    machine.works, machine.forbidden["wwan0"] = {"wwan0"}, "it is metered"
    machine.look(100.0, 90.0)
    machine.forbidden.clear()

    assert machine.look(131.0, 90.0)
    assert machine.way.device == "wwan0"


def test_nobody_is_asked_beside_a_tunnel_but_over_what_may_be_used(machine):
    machine.others.is_beside_tunnel = lambda: True
    machine.works, machine.forbidden["wwan0"] = {"wwan0"}, "it leads past the tunnel"

    machine.look(100.0, 90.0)

    assert (machine.asked, machine.way.other) == (["eth0"], None)


def test_nobody_is_asked_while_nothing_is_to_be_sent(machine):
    machine.works, is_paused = {"wwan0"}, [True]
    machine.others.is_wanted = lambda: not is_paused[0]

    machine.look(100.0, 90.0)
    while_paused = list(machine.asked)
    wait_s = machine.others.wait_s(101.0, 90.0)
    is_paused[0] = False

    assert (while_paused, wait_s) == ([], 29.0)
    assert machine.look(131.0, 90.0)


def test_one_that_stops_working_is_left(machine):
    machine.works = {"wwan0"}
    machine.look(100.0, 90.0)
    machine.works = set()

    machine.look(200.0, 185.0)

    assert machine.way.device is None


def test_whoever_watches_waits_for_no_answer(machine):
    may_answer = threading.Event()
    others = OtherWays(
        machine.way, lambda _: may_answer.wait(30), candidates=lambda: ["wwan0"], begin=in_a_thread
    )
    others.may_use = lambda _: None

    before = [others.go_on(100.0 + second, 90.0) for second in range(3)]
    may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "other-ways":
            thread.join(30)

    assert before == [False] * 3
    assert others.wait_s(103.0, 90.0) == 0.25
    assert others.go_on(103.0, 90.0)
    assert machine.way.device == "wwan0"


def interface(net, name, *, kind=1, flags="0x1003", state="up", **files):
    (net / name).mkdir()
    for file, text in {"type": str(kind), "flags": flags, "operstate": state, **files}.items():
        (net / name / file).write_text(text)


def test_what_may_lead_somewhere_by_itself(tmp_path):
    interface(tmp_path, "wlan0")
    interface(tmp_path, "usb0", state="unknown")
    interface(tmp_path, "eth0", state="down")
    interface(tmp_path, "eth1", flags="0x1002")
    interface(tmp_path, "lo", kind=772, state="unknown")
    interface(tmp_path, "tun0", kind=65534, state="unknown")
    interface(tmp_path, "tap0", tun_flags="0x1002")
    interface(tmp_path, "wg0", uevent="DEVTYPE=wireguard\n")
    interface(tmp_path, "ppp0", kind=512, state="unknown")
    interface(tmp_path, "docker0")
    (tmp_path / "docker0" / "bridge").mkdir()

    assert that_are_up(tmp_path) == ["ppp0", "usb0", "wlan0"]
    assert [
        name for name in ("tun0", "tap0", "wg0", "wlan0", "ppp0") if is_tunnel(name, tmp_path)
    ] == [
        "tun0",
        "tap0",
        "wg0",
    ]
    assert that_are_up(tmp_path / "nowhere") == []
