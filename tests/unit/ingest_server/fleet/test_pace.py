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
        self.refused: list[str] = []
        self.acks: list[dict[str, Any]] = []

    def report(self, to=None, late_s=0.0):
        """Report, and take what the answer brings, the last of it *late_s* after the others."""
        answer = (to or self.fleet).report(seq=self.fleet.seq + 1, acks=self.acks)
        self.fleet.seq += to is not None
        acks, refusals = [], []
        for one in answer["commands"]:
            now_s = self.fleet.clock.now_s() + (late_s if one is answer["commands"][-1] else 0.0)
            if one["id"] in self.taken:
                continue
            if self.allowance.take(now_s):
                self.taken.append(one["id"])
                acks.append({"id": one["id"], "status": "done"})
            else:
                self.refused.append(one["id"])
                message = "more than 10 commands in a minute; send it again later"
                ack = {"id": one["id"], "status": "rejected", "code": "rate", "message": message}
                refusals.append(ack)
        self.acks = acks + refusals  # in the order of the agent


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

    assert (device.taken, device.refused) == (given, [])
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
    assert (len(device.taken), device.refused) == (15, [])


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


def test_who_gives_what_has_to_wait_for_its_turn_is_told_for_how_many_and_no_time(fleet, device):
    *_, tenth, eleventh = [
        fleet.operations.give("drone-1", "pause", {}, 900, "me") for _ in range(11)
    ]

    sentence = "after 10 others: the device takes 10 commands in a minute"
    assert (tenth["seen_by"], tenth["message"]) == (fleet.row()["next_by"], None)
    assert (eleventh["seen_by"], eleventh["message"]) == (None, sentence)


def test_what_has_no_turn_in_its_time_says_so(fleet, device):
    *_, last = give(fleet, 31, expires_in_s=120)

    for _ in range(13):
        device.report()
        fleet.pass_s(10)

    ended = fleet.operations.command("drone-1", last)
    assert (ended["status"], ended["code"]) == ("expired", "not_seen")
    assert ended["message"].startswith("its time was over before its turn, after ")
    assert last not in device.taken


def restarted(make_fleet, fleet, device):
    """Return the fleet of the server's next run, which knows what was written and nothing else."""
    again = make_fleet(fleet.store)
    again.clock.pass_s(fleet.clock.now_s() - again.clock.now_s())
    again.seq = fleet.seq
    device.fleet = again
    return again


def test_what_a_device_refuses_since_the_run_before_brought_it_as_many_is_brought_again_in_order(
    fleet, device, make_fleet
):
    given = give(fleet, 18)
    device.report()
    device.report()
    fleet.service.write()
    again = restarted(make_fleet, fleet, device)

    device.report()
    device.report()
    device.report()
    refused, waiting = list(device.refused), again.operations.command("drone-1", given[-1])
    again.pass_s(62)
    device.report()
    device.report()

    assert refused == given[10:]  # once each: the device is not asked again at once
    assert (waiting["status"], waiting["code"]) == ("waiting", "rate")
    assert waiting["message"] == "after 17 others: the device takes 10 commands in a minute"
    assert device.taken == given
    assert {one["status"] for one in again.operations.commands("drone-1")} == {"done"}


def test_what_was_refused_is_not_brought_after_a_later_one_that_was_taken(
    fleet, device, make_fleet
):
    give(fleet, 10)
    device.report()
    device.report()
    fleet.service.write()
    pause = fleet.operations.give("drone-1", "pause", {}, 900, "me")["id"]
    resume = fleet.operations.give("drone-1", "resume", {}, 900, "me")["id"]
    again = restarted(make_fleet, fleet, device)

    again.pass_s(58)
    device.report(late_s=3)  # the minute of the first ten ends between the two
    again.pass_s(3)
    for _ in range(3):
        device.report()
        again.pass_s(62)

    assert device.taken[10:] == [resume]
    ended = again.operations.command("drone-1", pause)
    assert (ended["status"], ended["code"]) == ("rejected", "rate")
    assert ended["message"].endswith("send it again if it is still wanted")
    assert again.operations.command("drone-1", resume)["status"] == "done"


def test_a_refusal_that_is_heard_late_does_not_end_what_was_taken_since(fleet, device):
    [given] = give(fleet, 1)
    device.report()
    fleet.report(acks=[{"id": given, "status": "accepted"}])

    fleet.report(acks=[{"id": given, "status": "rejected", "code": "rate"}])

    assert fleet.operations.command("drone-1", given)["status"] == "accepted"
