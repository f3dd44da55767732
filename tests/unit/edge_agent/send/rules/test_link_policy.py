"""What the rules ask of the machine: it may hang, lie or fail, and nothing is allowed or lost by that."""

import os
import threading
from contextlib import closing

import pytest

from edge_agent.base.errors import LinkDownError, StoreError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Wait
from edge_agent.core.hold import Maker
from edge_agent.core.link_rule import LinkRule
from edge_agent.core.schedule import URGENT_METERED
from edge_agent.send.rules import hold_file
from edge_agent.send.rules.link_policy import OwnerRules
from edge_agent.send.rules.surroundings import Surroundings
from tests.support.memory_lane import memory_lane
from tests.support.present import present
from tests.support.processes import wait_for
from tests.unit.edge_agent.send.test_permission import MIB, Asked


@pytest.fixture
def lane(tmp_path):
    with memory_lane(tmp_path) as made:
        yield made


def test_before_somebody_has_looked_for_the_hold_file_nothing_is_sent_for_two_seconds(
    lane, monkeypatch
):
    goes_on = threading.Event()
    monkeypatch.setattr(hold_file, "look", lambda *_: goes_on.wait(20) and None)
    with closing(Surroundings(lane.clock)) as around:
        asked = Asked(lane, around=around)
        asked.permission.go_by(OwnerRules(hold_file=b"/run/robot/armed"))

        wait = asked.permission.may_send(lane.clock.now_s())

        assert present(wait).reason is Reason.HOLD
        assert "which is just being looked at" in present(wait).detail
        assert asked.answer() is None
        [(code, _)] = lane.activity.view().rule_notes
        assert code is ProblemCode.RULE_UNKNOWN
        goes_on.set()


def test_before_network_manager_has_answered_nothing_is_sent_for_two_seconds(lane):
    goes_on = threading.Event()

    def links():
        goes_on.wait(20)
        return {}

    with closing(Surroundings(lane.clock, links=links)) as around:
        asked = Asked(lane, "wwan0", around=around)
        asked.rules(LinkRule("wwan*", metered_if_told=True))

        wait = asked.permission.may_send(lane.clock.now_s())

        assert present(wait).reason is Reason.METERED
        assert present(wait).detail.startswith(
            "the link wwan0: NetworkManager is just being asked about it"
        )
        assert asked.answer() is None
        goes_on.set()


def test_nobody_looks_for_a_hold_file_after_the_end(lane, tmp_path):
    asked = Asked(lane, around=Surroundings(lane.clock))
    asked.permission.go_by(OwnerRules(hold_file=os.fsencode(tmp_path / "armed")))
    asked.answer()
    before = {one for one in threading.enumerate() if one.name == "hold file"}

    asked.permission.close()

    after = {one for one in threading.enumerate() if one.name == "hold file"}
    assert len(before) == 1
    assert after <= before
    wait_for(lambda: not any(one.is_alive() for one in before), "it ends")


@pytest.mark.parametrize("made_s", [2.0**40, -1e12])
def test_a_hold_file_holds_whatever_date_it_has(lane, monkeypatch, made_s):
    monkeypatch.setattr(hold_file, "look", lambda *_: hold_file.Lying(made_s, Maker()))
    with closing(Surroundings(lane.clock)) as around:
        asked = Asked(lane, around=around)
        asked.permission.go_by(OwnerRules(hold_file=b"/run/robot/armed"))

        wait = asked.answer()

        assert present(wait).reason is Reason.HOLD
        assert wait.detail == "the hold file /run/robot/armed holds everything, until it is removed"


def test_what_cannot_be_looked_at_allows_nothing_from_memory(lane, monkeypatch):
    asked = Asked(lane)
    lane.store.orders.pause()
    with monkeypatch.context() as broken:
        broken.setattr(lane.store.orders, "paused", fails)
        for _ in range(2):
            with pytest.raises(StoreError):
                asked.permission.may_send(lane.clock.now_s())

    assert present(asked.permission.may_send(lane.clock.now_s())).reason is Reason.PAUSED


def test_bytes_of_a_day_count_on_the_link_that_carried_them_whatever_comes_then(lane):
    asked = Asked(lane, "wwan0")
    asked.rules(LinkRule("wwan*", metered=True, daily_bytes=10 * MIB), LinkRule("eth*"))
    asked.answer()
    asked.throttle.count(6 * MIB)
    asked.interface = "eth0"
    asked.answer()
    asked.interface = "wwan0"
    asked.answer()
    asked.throttle.count(4 * MIB)
    asked.interface = None
    asked.answer()
    asked.interface = "wwan0"

    assert asked.answer().reason is Reason.METERED


def test_what_is_wanted_now_in_a_silent_folder_opens_no_link_that_costs(lane):
    asked = Asked(lane, "wwan0")
    asked.rules(LinkRule("wwan*", metered=True))
    wanted = lane.store.update(lane.record("a.mp4", b"a"), watch="front")
    lane.store.choose_priority(wanted, URGENT_METERED)
    assert asked.answer() is None

    lane.activity.miss_folder(Wait(Reason.SOURCE_SILENT, "front: silent"), watch="front")

    assert asked.answer().reason is Reason.METERED


def fails():
    raise StoreError("the disk does not answer")


def test_when_the_link_returns_it_is_another_one_whose_rule_holds_at_once(tmp_path):
    with memory_lane(tmp_path) as lane:
        links = ["wlan0"]
        lane.interface = lambda: links[-1]
        lane.restart()
        lane.sender.go_by(OwnerRules([LinkRule("wwan*", metered=True)]))
        recording = lane.record("a.mp4", b"a")
        lane.befall = lambda _: LinkDownError("no network")
        lane.sender.step(lane.clock.now_s())
        assert lane.duties
        lane.befall = lambda _: None
        links.append("wwan0")

        lane.sender.link_returned()
        lane.sender.step(lane.clock.now_s())

        assert present(lane.activity.blocked_by).reason is Reason.METERED
        assert lane.now(recording).upload_id is None
