"""How many commands are on their way to a device at once: no more than the agent there takes."""

from typing import Any

import pytest

from edge_agent.core.command import Allowance

MINUTE_S = 60.0


class Device:
    """Takes commands over reports, at most as many in a minute as the agent does."""

    def __init__(self, fleet, most=10):
        self.fleet = fleet
        self.allowance = Allowance(most, MINUTE_S)
        self.taken: list[str] = []
        self.acks: list[dict[str, Any]] = []

    def report(self):
        answer = self.fleet.report(acks=self.acks)
        self.acks = []
        for one in answer["commands"]:
            if one["id"] in self.taken:
                continue
            assert self.allowance.take(self.fleet.clock.now_s()), "the device would refuse it"
            self.taken.append(one["id"])
            self.acks.append({"id": one["id"], "status": "done"})


@pytest.fixture
def device(fleet):
    fleet.report(next_s=30)
    return Device(fleet)


def give(fleet, count, expires_in_s=900):
    return [
        fleet.operations.give("drone-1", "pause", {}, expires_in_s, "me")["id"]
        for _ in range(count)
    ]


def test_a_device_that_has_a_minute_full_is_told_of_the_others_in_their_turn(fleet, device):
    given = give(fleet, 25)

    for _ in range(20):
        device.report()
        fleet.pass_s(10)
    device.report()

    assert device.taken == given
    told = {one["status"] for one in fleet.operations.commands("drone-1")}
    assert told == {"done"}


def test_an_answer_that_is_long_under_way_lets_nothing_go_out_too_early(fleet, device):
    give(fleet, 15)
    device.report()
    fleet.pass_s(45)  # the ten answers are on their way
    device.report()
    fleet.pass_s(30)
    device.report()

    assert len(device.taken) == 10
    fleet.pass_s(32)
    device.report()
    assert len(device.taken) == 15


def test_what_waits_for_its_turn_says_for_how_many(fleet, device):
    *_, eleventh, twelfth = give(fleet, 12)
    sentence = "after {} others: the device takes 10 commands in a minute"

    before = fleet.operations.command("drone-1", twelfth)
    device.report()
    device.report()
    after = fleet.operations.command("drone-1", eleventh)

    assert (before["status"], before["message"]) == ("waiting", sentence.format(11))
    assert (after["status"], after["message"]) == ("waiting", sentence.format(10))
    assert before["seen_by"] is after["seen_by"] is None


def test_what_has_no_turn_in_its_time_says_so(fleet, device):
    *_, last = give(fleet, 31, expires_in_s=120)

    for _ in range(13):
        device.report()
        fleet.pass_s(10)

    ended = fleet.operations.command("drone-1", last)
    assert (ended["status"], ended["code"]) == ("expired", "not_seen")
    assert ended["message"].startswith("its time was over before its turn, after ")
    assert last not in device.taken
