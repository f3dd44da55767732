"""Groups in virtual time: what is held back, what is told, and that no fault of the way tells it twice."""

import json
import os

import pytest
from structlog.testing import capture_logs

from edge_agent.base.reasons import Reason
from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.core.schedule import URGENT, URGENT_METERED, PriorityRule
from edge_agent.core.upload import State
from edge_agent.send.group_telling import GroupTelling
from edge_agent.store import priorities
from ingest_server.core.events import GROUP_COMPLETED
from tests.support.events import of_types
from tests.support.lane import scene
from tests.support.link import FINE, LOGIN_PAGE, Fault, problem
from upload_protocol.groups import MAX_MEMBERS

MIB = 1024 * 1024
QUIET_S = 120.0
METERED = LinkSettings(match="wwan*", metered=True, daily_bytes="1GB")


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        made.link.bytes_per_s = MIB
        made.server.state.outbox.register("hook")
        yield made


@pytest.fixture
def interface(stage):
    """Which interface leads to the server; a test may change it."""
    found = ["wwan0"]
    stage.lane.interface = lambda: found[0]
    stage.lane.restart()
    stage.lane.sender.reconfigure(UploadSettings(), [METERED])
    return found


def run_all(stage, steps=60):
    for _ in range(steps):
        stage.lane.step()


def telling(stage, **more):
    """Return what tells the server of the lane's groups."""
    return GroupTelling(
        stage.lane.store.groups,
        lambda: stage.lane.transport,
        **{
            "device_id": "cam",
            "listed": lambda _: None,
            "may_send": lambda: True,
            "jitter": lambda: 0.5,
            **more,
        },
    )


def tell(stage, teller, for_s=600.0):
    """Let time pass while *teller* works."""
    ends_s = stage.clock.now_s() + for_s
    while stage.clock.now_s() < ends_s:
        wait_s = teller.step(stage.clock.now_s())
        stage.clock.pass_s(max(1.0, min(wait_s, 30.0)))


def manifests(stage):
    return [json.loads(one) for name, one in stage.published().items() if ".group" in name]


def completions(stage):
    stage.server.state.outbox.take_in("hook", of_types({GROUP_COMPLETED}))
    return [one.event.data["revision"] for one in stage.server.state.outbox.listing()]


def test_the_smallest_that_says_most_arrives_first(stage):
    for name in ("a.mp4", "a.lrv", "a.srt", "a.thm"):
        stage.lane.record(name, os.urandom(1000))

    stage.lane.run()

    order = stage.server.state.page(device=None, state=None, after=None, limit=9)
    order.sort(key=lambda one: one.touched_s)
    assert [one.name for one in order] == ["a.thm", "a.srt", "a.lrv", "a.mp4"]


def test_an_original_that_is_under_way_waits_when_the_link_becomes_metered_and_no_byte_goes_twice(
    stage, interface
):
    stage.lane.sender.hold_originals("unmetered")
    interface[0] = "eth0"
    video = os.urandom(16 * MIB)
    original = stage.lane.record("GX010001.MP4", video)
    stage.lane.run(until=lambda: stage.link.body_bytes > 4 * MIB)

    interface[0] = "wwan0"
    proxy = stage.lane.record("GL010001.LRV", os.urandom(MIB))
    run_all(stage)

    assert stage.lane.now(proxy).state is State.VERIFIED
    assert stage.lane.now(original).state is State.SENDING
    assert stage.lane.activity.blocked_by.reason is Reason.METERED
    assert "[groups] original" in stage.lane.activity.blocked_by.detail
    assert stage.lane.store.groups.originals((State.SENDING,)) == (1, 16 * MIB)

    interface[0] = "eth0"
    stage.lane.run()
    assert stage.published()["GX010001.MP4"] == video
    assert stage.link.body_bytes < 18 * MIB


def test_what_is_wanted_now_goes_though_originals_wait_for_a_fetch(stage):
    stage.lane.sender.hold_originals("on-demand")
    wanted = stage.lane.record("a.mp4", b"a" * 1000)
    other = stage.lane.record("b.mp4", b"b" * 1000)
    run_all(stage, 10)
    assert stage.lane.activity.blocked_by.reason is Reason.ON_DEMAND
    assert stage.link.body_bytes == 0

    stage.lane.store.holdings.want_now([wanted.id], URGENT_METERED)
    stage.lane.sender.obey()
    run_all(stage, 30)

    assert stage.lane.now(wanted).state is State.VERIFIED
    assert stage.lane.now(other).state is State.STABLE


def test_what_is_wanted_over_a_metered_link_says_so(stage, interface):
    stage.lane.sender.hold_originals("unmetered")
    plainly = stage.lane.record("a.mp4", b"a" * 1000)
    whatever_it_costs = stage.lane.record("b.mp4", b"b" * 1000)
    stage.lane.store.holdings.want_now([plainly.id], URGENT)
    stage.lane.store.holdings.want_now([whatever_it_costs.id], URGENT_METERED)
    stage.lane.sender.obey()

    run_all(stage, 30)

    assert stage.lane.now(whatever_it_costs).state is State.VERIFIED
    assert stage.lane.now(plainly).state is State.STABLE
    assert stage.lane.activity.blocked_by.reason is Reason.METERED


def test_the_owners_priority_is_no_reason_to_send_an_original_that_waits_for_a_fetch(stage):
    priorities.apply(stage.lane.store, [PriorityRule("*.mp4", 50)])
    stage.lane.sender.hold_originals("on-demand")
    video = stage.lane.record("a.mp4", b"a" * 1000)
    telemetry = stage.lane.record("a.srt", b"a" * 100)

    run_all(stage, 30)

    assert stage.lane.now(telemetry).state is State.VERIFIED
    assert stage.lane.now(video).state is State.STABLE


def test_a_group_is_told_of_after_the_quiet_time_and_once(stage):
    for name in ("a.mp4", "a.srt", "alone.mp4"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()
    teller = telling(stage)

    tell(stage, teller, QUIET_S / 2)
    assert manifests(stage) == []
    tell(stage, teller)

    [manifest] = manifests(stage)
    assert [one["name"] for one in manifest["members"]] == ["a.mp4", "a.srt"]
    assert completions(stage) == [1]
    [event] = [one for one in stage.lane.store.outbox.undelivered(limit=99) if "group" in one.type]
    assert event.data["manifest"].endswith("a.group.json")
    assert stage.lane.store.groups.next_s() is None


@pytest.mark.parametrize("fault", [Fault(lose_request=True), Fault(lose_answer=True), LOGIN_PAGE])
def test_an_answer_that_is_lost_tells_nothing_twice(stage, fault):
    for name in ("a.mp4", "a.srt"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()
    stage.link.script(fault, fault, fault)

    tell(stage, telling(stage), 3000)

    assert len(manifests(stage)) == 1
    assert completions(stage) == [1]


def test_a_restart_between_the_servers_word_and_ours_tells_nothing_twice(stage):
    for name in ("a.mp4", "a.srt"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()
    stage.clock.pass_s(QUIET_S)
    groups = stage.lane.store.groups
    [group] = groups.due(9)

    class Forgets:
        """Its power goes before it writes down what it was told."""

        def __getattr__(self, name):
            return getattr(groups, name)

        def told(self, *_, **__):
            raise SystemExit

    teller = telling(stage)
    teller._groups = Forgets()
    with pytest.raises(SystemExit):
        teller.step(stage.clock.now_s())
    stage.lane.restart()

    tell(stage, telling(stage))

    assert len(manifests(stage)) == 1
    assert completions(stage) == [1]
    assert stage.lane.store.groups.due(9) == []
    assert group.told is None


@pytest.mark.slow
def test_a_card_of_which_nothing_has_arrived_yet_says_nothing(stage):
    for number in range(8):
        stage.lane.record(f"{number}.mp4", b"x")
        stage.lane.record(f"{number}.srt", b"x")

    tell(stage, telling(stage))

    assert not [one for one in stage.link.requests if one.path == "/v1/groups"]
    stage.lane.run()
    tell(stage, telling(stage))
    assert len(manifests(stage)) == 8
    assert sum(one.path == "/v1/groups" for one in stage.link.requests) == 8


def test_what_is_held_back_is_told_of_once_the_others_have_arrived(stage):
    stage.lane.sender.hold_originals("on-demand")
    for name in ("a.mp4", "a.srt", "a.lrv"):
        stage.lane.record(name, os.urandom(1000))
    run_all(stage, 30)

    tell(stage, telling(stage))

    [known] = stage.server.state.groups.page(device=None, state=None, before=None, limit=9)
    assert (known.done, known.expected, known.state) == (2, 3, "open")
    assert sum(one.path == "/v1/groups" for one in stage.link.requests) == 1


def test_a_late_sidecar_makes_a_second_revision(stage):
    for name in ("a.mp4", "a.srt"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()
    teller = telling(stage)
    tell(stage, teller)

    stage.lane.record("a.gpx", os.urandom(100))
    stage.lane.run()
    tell(stage, teller)

    assert sorted(len(one["members"]) for one in manifests(stage)) == [2, 3]
    assert completions(stage) == [1, 2]


def of_groups(fault):
    """Let *fault* befall what is said of groups, and nothing else."""
    return lambda request: fault if request.path == "/v1/groups" else FINE


def test_a_server_that_is_too_old_is_asked_once_an_hour(stage):
    for name in ("a.mp4", "a.srt", "b.mp4", "b.srt"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()
    stage.link.schedule = of_groups(problem(404, "not-found"))

    tell(stage, telling(stage), 7000)

    assert sum(one.path == "/v1/groups" for one in stage.link.requests) == 2
    stage.link.schedule = of_groups(FINE)
    tell(stage, telling(stage))
    assert len(manifests(stage)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "said", [(422, "invalid-name"), (422, "upload-refused"), (400, "malformed-request")]
)
def test_one_group_that_the_server_refuses_does_not_hold_up_the_others(stage, said):
    for name in ("a.mp4", "a.srt", "b.mp4", "b.srt"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()
    stage.link.script(problem(*said))

    tell(stage, telling(stage))
    assert [one["title"] for one in manifests(stage)] == ["b"]

    tell(stage, telling(stage), 4000)
    assert sorted(one["title"] for one in manifests(stage)) == ["a", "b"]


@pytest.mark.parametrize(
    "said",
    [
        {"group": "f" * 32},
        {"state": "perhaps"},
        {"state": ["complete"]},
        {"manifest": "a" * 5000},
        {"revision": "1"},
        {"done": True},
    ],
)
def test_an_answer_that_is_none_is_taken_for_none(stage, said):
    for name in ("a.mp4", "a.srt"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()
    stage.clock.pass_s(QUIET_S)
    [group] = stage.lane.store.groups.due(9)
    fine = {"group": group.id, "state": "complete", "expected": 2, "done": 2, "revision": 1}
    body = json.dumps({**fine, "manifest": "cam/a.group.json", **said}).encode()
    stage.link.schedule = of_groups(Fault(answer=(200, {"Content-Type": "application/json"}, body)))

    tell(stage, telling(stage))

    assert stage.lane.store.groups.due(9) == [group]
    assert not [one for one in stage.lane.store.outbox.undelivered(limit=99) if "group" in one.type]


@pytest.mark.parametrize(("done", "asked"), [(2, 60), (1, 2)])
def test_a_group_that_the_server_does_not_complete_is_told_again_rarely_if_it_lacks_files(
    stage, done, asked
):
    for name in ("a.mp4", "a.srt"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()
    stage.clock.pass_s(QUIET_S)
    [group] = stage.lane.store.groups.due(9)
    answer = {"group": group.id, "state": "open", "expected": 2, "done": done, "revision": 0}
    body = json.dumps({**answer, "manifest": None}).encode()
    stage.link.schedule = of_groups(Fault(answer=(200, {"Content-Type": "application/json"}, body)))

    tell(stage, telling(stage), 3900)

    told = [one for one in stage.link.requests if one.path == "/v1/groups"]
    assert asked // 2 < len(told) <= asked * 1.2


def test_nothing_is_told_while_the_owner_lets_nothing_be_sent(stage):
    for name in ("a.mp4", "a.srt"):
        stage.lane.record(name, os.urandom(1000))
    stage.lane.run()

    tell(stage, telling(stage, may_send=lambda: False))

    assert manifests(stage) == []


@pytest.mark.slow
def test_a_group_of_more_files_than_one_can_have_is_said_once(stage):
    endings = ("mp4", "lrv", "thm", "wav")
    heads = ("GX", "GH", "GL", "GS", "GP", "GF", "GB")
    names = [
        f"{head}{part:02}0001.{end}" for head in heads for part in range(40) for end in endings
    ]
    teller = telling(stage)

    with capture_logs() as logs:
        for name in names[: MAX_MEMBERS + 1]:
            stage.lane.record(name, b"x")
        for name in names[MAX_MEMBERS + 1 : MAX_MEMBERS + 4]:
            tell(stage, teller, 2 * QUIET_S)
            stage.lane.record(name, b"x")

    assert [one["event"] for one in logs].count("group.too_large") == 1
