"""What the owner allows, asked before work and in the middle of it."""

import os
from contextlib import closing

import pytest

from edge_agent.base.errors import AbortedError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.core.data_plan import DataPlan
from edge_agent.core.link_rule import LinkRule
from edge_agent.core.power import PowerRule, Supply
from edge_agent.core.schedule import URGENT_METERED, Slot
from edge_agent.core.upload import State
from edge_agent.core.window import Window
from edge_agent.send.permission import Permission
from edge_agent.send.roster import Roster
from edge_agent.send.rules.link_policy import LinkPolicy, OwnerRules
from edge_agent.send.rules.plan_meter import PlanMeter
from edge_agent.send.rules.surroundings import Surroundings
from edge_agent.send.throttle import Throttle
from edge_agent.send.waits import Waits
from tests.support.memory_lane import memory_lane
from tests.support.memory_server import MemoryClient
from tests.support.present import present

MIB = 2**20
LOOK_S = 2.0


@pytest.fixture
def lane(tmp_path):
    with memory_lane(tmp_path) as made:
        yield made


class Asked:
    """A permission with what it acts on, and one lane."""

    def __init__(self, lane, interface="eth0", around=None):
        self.clock = lane.clock
        self.interface = interface
        policy = LinkPolicy(lane.store, lane.clock, interface=lambda: self.interface, around=around)
        self.roster = Roster()
        self.client = MemoryClient(lane.server)
        self.roster.add(self.client)
        self.throttle = Throttle(lane.activity, lane.clock, pause=lane.clock.pass_s)
        waits = Waits(lane.activity, lane.clock)
        self.permission = Permission(policy, lane.store, self.roster, self.throttle, waits)

    def rules(self, *links, **more):
        self.permission.change(OwnerRules((), **more), links=links)

    def answer(self):
        self.clock.pass_s(LOOK_S)
        return self.permission.may_send(self.clock.now_s())


def test_without_rules_everything_may_be_sent(lane):
    assert Asked(lane).answer() is None


def test_a_pause_says_why_and_how_it_ends(lane):
    asked = Asked(lane)

    asked.permission.pause(lane.clock.now_s(), paused=True)

    wait = asked.answer()
    assert (wait.reason, asked.permission.is_paused) == (Reason.PAUSED, True)
    assert "edge-agent resume" in wait.detail
    with pytest.raises(AbortedError):
        asked.client.probe("n")

    asked.permission.pause(lane.clock.now_s(), paused=False)

    assert asked.answer() is None
    assert asked.client.probe("n").nonce == "n"


def test_a_metered_link_is_left_and_another_one_is_not(lane):
    asked = Asked(lane, "wwan0")
    asked.rules(LinkRule("wwan*", metered=True))

    assert asked.answer().reason is Reason.METERED
    assert asked.permission.link_in_use.interface == "wwan0"

    asked.interface = "eth0"

    assert asked.answer() is None


def test_the_timetable_counts_once_the_clock_is_known(lane):
    asked = Asked(lane)
    asked.rules(timetable=[Slot(Window.parse("00:00-24:00"), 0)])
    assert asked.answer() is None

    lane.clock.set_wall_forward(years=56)

    assert asked.answer().reason is Reason.SCHEDULE


def test_rules_that_name_no_links_keep_those_that_there_are(lane):
    asked = Asked(lane, "wwan0")
    asked.rules(LinkRule("wwan*", metered=True))

    asked.permission.change(OwnerRules((), (), 1000), links=None)

    assert asked.answer().reason is Reason.METERED


def test_a_pause_in_the_middle_of_a_body_ends_it_and_the_rest_goes_later(lane):
    data = os.urandom(4 * MIB)
    recording = lane.record("a.mp4", data)
    lane.bytes_per_s = MIB
    lane.befall = lambda duty: lane.sender.pause(True) if duty == "send" else None

    lane.run(until=lambda: lane.activity.blocked_by is not None)

    assert present(lane.activity.blocked_by).reason is Reason.PAUSED
    assert lane.transport.body_bytes < len(data)

    lane.befall = lambda _: None
    lane.sender.pause(False)
    lane.run()

    assert lane.now(recording).state is State.VERIFIED
    assert lane.server.published == {"a.mp4": data}


def test_a_rule_that_comes_to_hold_while_a_body_goes_out_breaks_it_off(lane):
    data = os.urandom(16 * MIB)
    lane.record("a.mp4", data)
    lane.bytes_per_s = MIB
    interfaces = {"now": "eth0"}
    lane.interface = lambda: interfaces["now"]
    lane.restart()
    lane.sender.reconfigure(UploadSettings(), [LinkSettings(match="wwan*", metered=True)])
    lane.run(until=lambda: lane.transport.body_bytes > 4 * MIB)

    interfaces["now"] = "wwan0"
    lane.run(until=lambda: lane.activity.blocked_by is not None)

    assert present(lane.activity.blocked_by).reason is Reason.METERED
    assert lane.transport.body_bytes < len(data)


@pytest.mark.parametrize(
    ("configured", "ordered", "held"), [(None, 900, 900), (500, 900, 500), (900, 500, 500)]
)
def test_an_ordered_rate_holds_at_once_and_never_lifts_the_configured_one(
    lane, configured, ordered, held
):
    asked = Asked(lane)
    asked.rules(max_rate=configured)

    lane.store.orders.set_limit(ordered)
    asked.permission.obey(lane.clock.now_s())

    assert asked.permission.link_in_use.verdict.max_rate == held


def test_a_pause_that_is_over_lets_the_next_look_send(lane):
    asked = Asked(lane)
    asked.permission.pause(lane.clock.now_s(), paused=True, for_s=60)
    assert asked.answer().reason is Reason.PAUSED

    lane.clock.pass_s(60)

    assert asked.answer() is None


def test_a_rate_above_the_limit_is_never_shown_whatever_was_saved_up_at_the_start(lane):
    limit = 300_000
    lane.record("a.mp4", os.urandom(2 * MIB))
    lane.sender.reconfigure(UploadSettings(max_rate=limit))
    rates = []
    lane.activity.subscribe(lambda: rates.append(lane.activity.rate_bytes_per_s or 0))

    lane.run()

    assert 0 < max(rates) <= limit


@pytest.mark.parametrize(
    ("name", "priority", "is_cut"),
    [
        ("a.mp4", 0, True),
        ("a.mp4", 100, True),
        ("a.mp4", URGENT_METERED, False),
        ("a.lrv", 0, False),
    ],
)
def test_a_request_for_an_original_is_broken_off_as_soon_as_originals_wait(
    lane, monkeypatch, name, priority, is_cut
):
    asked = Asked(lane, "wwan0")
    asked.rules(LinkRule("wwan*", metered=True, daily_bytes=10 * MIB))
    recording = lane.record(name, b"x")
    lane.store.choose_priority(recording, priority)
    asked.roster.busy[0] = recording.id
    assert asked.answer() is None
    cuts = []
    monkeypatch.setattr(asked.client, "cut", lambda: cuts.append(1))

    asked.permission.choose_originals("unmetered")

    assert asked.answer() is None
    assert bool(cuts) is is_cut
    assert asked.permission.lets_go(lane.store.get(recording.id)) is not is_cut
    assert present(asked.permission.held_originals()).reason is Reason.METERED
    asked.interface = "eth0"
    assert asked.answer() is None
    assert asked.permission.held_originals() is None


SIM = DataPlan("sim", 10 * MIB, beyond="nothing")


def on_plan(asked, plan=SIM):
    links = [LinkRule("wwan*", metered=True, plan="sim"), LinkRule("usb*", plan="sim")]
    asked.permission.go_by(OwnerRules(links, plans={"sim": plan}))


def test_two_links_share_a_plan_and_the_end_of_it_holds_both(lane):
    lane.clock.set_wall_forward(years=56)
    asked = Asked(lane, "wwan0")
    on_plan(asked)
    assert asked.answer() is None
    asked.throttle.count(6 * MIB)
    assert asked.answer() is None
    asked.interface = "usb0"
    asked.answer()
    asked.throttle.count(4 * MIB)

    wait = asked.answer()

    assert wait.reason is Reason.PLAN
    assert wait.detail.startswith("the link usb0 is not used: the data plan sim is used to 100 %")
    assert [code for code, _ in lane.activity.view().rule_notes] == [ProblemCode.PLAN_LOW]
    asked.interface = "wwan0"
    assert asked.answer().reason is Reason.PLAN
    asked.interface = "eth0"
    assert asked.answer() is None


@pytest.mark.parametrize(
    ("beyond", "goes"), [("nothing", False), ("now", True), ("deadline", True)]
)
def test_a_person_may_go_beyond_a_plan_where_its_rule_says_so(lane, beyond, goes):
    asked = Asked(lane, "wwan0")
    on_plan(asked, DataPlan("sim", MIB, beyond=beyond))
    asked.answer()
    asked.throttle.count(MIB)
    assert asked.answer().reason is Reason.PLAN

    lane.store.choose_priority(lane.record("a.mp4", b"a"), URGENT_METERED)

    assert (asked.answer() is None) is goes


def test_what_was_sent_is_remembered_after_a_stop_for_the_plan_and_for_the_day(lane):
    asked = Asked(lane, "wwan0")
    on_plan(asked)
    asked.answer()
    asked.throttle.count(MIB)
    asked.permission.close()
    assert PlanMeter(lane.store.notes).use(SIM, None).used == MIB

    again = Asked(lane, "wwan0")
    on_plan(again, DataPlan("sim", MIB))
    assert again.answer().reason is Reason.PLAN
    again.permission.go_by(OwnerRules([LinkRule("wwan*", daily_bytes=MIB)]))
    assert again.answer().reason is Reason.METERED


def test_a_burst_counts_on_the_plan_before_the_next_request_and_is_not_lost_by_a_power_cut(lane):
    asked = Asked(lane, "wwan0")
    on_plan(asked)
    asked.answer()
    asked.throttle.count(10 * MIB)

    assert present(asked.permission.may_send(lane.clock.now_s())).reason is Reason.PLAN
    again = Asked(lane, "wwan0")  # without a stop
    on_plan(again)
    assert again.answer().reason is Reason.PLAN


def test_what_went_over_a_link_without_a_plan_counts_on_none_when_the_link_changes(lane):
    asked = Asked(lane, "eth0")
    on_plan(asked)
    asked.answer()
    asked.throttle.count(10 * MIB)
    asked.interface = "wwan0"

    assert asked.answer() is None


def test_what_an_old_rule_for_power_held_a_new_one_does_not_go_on_holding(lane):
    weak = [Supply(True, status="Discharging", percent=12)]
    with closing(Surroundings(lane.clock, supplies=lambda: weak)) as around:
        asked = Asked(lane, around=around)
        asked.permission.go_by(OwnerRules(power=PowerRule(min_percent=20)))
        assert asked.answer().reason is Reason.POWER

        asked.permission.go_by(OwnerRules(power=PowerRule(min_percent=10)))

        assert asked.answer() is None


def test_a_hold_of_a_command_and_one_of_a_file_hold_each_by_itself(lane, tmp_path):
    armed = tmp_path / "armed%\n"
    armed.touch()
    with closing(Surroundings(lane.clock)) as around:
        asked = Asked(lane, around=around)
        asked.permission.go_by(OwnerRules(hold_file=os.fsencode(armed)))
        lane.store.orders.hold(reason="driving")
        assert asked.answer().detail.startswith('"edge-agent hold" holds everything (driving)')

        lane.store.orders.release()
        asked.permission.obey(lane.clock.now_s())

        wait = asked.answer()
        assert (wait.reason, "\n" in wait.detail) == (Reason.HOLD, False)
        assert "armed%25%0A holds everything" in wait.detail


def test_a_hold_for_a_time_ends_by_itself_and_one_before_a_boot_is_stale(lane):
    asked = Asked(lane)
    lane.store.orders.hold(for_s=60)
    assert asked.answer().reason is Reason.HOLD
    lane.clock.pass_s(61)
    assert asked.answer() is None

    lane.store.orders.hold()
    lane.store.running.boot_id = "another"
    asked.answer()

    [(code, text)] = lane.activity.view().rule_notes
    assert code is ProblemCode.HOLD_STALE
    assert text.startswith('"edge-agent hold" may have been left behind: it is dated before')


def test_a_request_is_broken_off_where_the_plan_ends(tmp_path):
    with memory_lane(tmp_path, upload={"min_request": 8 * MIB}) as lane:
        lane.interface = lambda: "wwan0"
        lane.restart()
        links, plans = [LinkRule("*", plan="sim")], {"sim": DataPlan("sim", MIB)}
        lane.sender.go_by(OwnerRules(links, plans=plans))
        lane.record("a.mp4", bytes(8 * MIB))

        lane.run(until=lambda: lane.activity.blocked_by is not None)

        assert present(lane.activity.blocked_by).reason is Reason.PLAN
        assert isinstance(lane.transport, MemoryClient)
        assert MIB <= lane.transport.body_bytes <= MIB + 256 * 1024
