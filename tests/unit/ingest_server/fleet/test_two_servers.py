"""Two servers over one store: a device's next report goes to either, and so does who looks at it."""

import json

import pytest

from edge_agent.core.command import Allowance
from ingest_server.core.errors import Refused
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.report import Report
from ingest_server.storage.memory.fleet import MemoryFleet
from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.fleet import report, state
from tests.support.postgres import postgres


class SharedMemory(MemoryFleet):
    """A store of two servers, with a clock of its own."""

    is_shared = True

    def __init__(self):
        super().__init__()
        self.clock = None

    def now_s(self):
        return 5000.0 + (0.0 if self.clock is None else self.clock.now_s())


@pytest.fixture(scope="module")
def database_server():
    with postgres() as found:
        yield found


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.slow)])
def store(request):
    if request.param == "memory":
        yield SharedMemory()
        return
    opened = PostgresState.open(request.getfixturevalue("database_server").database())
    yield opened.fleet()
    opened.close()


class Two:
    """Two servers, and a device that reports to them in turns."""

    def __init__(self, make_fleet, store):
        self.one, self.other = make_fleet(store), make_fleet(store)
        self.other.clock.pass_s(777.0)  # of another machine
        if isinstance(store, SharedMemory):
            store.clock = self.one.clock
        self.seq = 0
        self.pass_s(2)

    def pass_s(self, seconds):
        for _ in range(int(seconds)):
            self.one.pass_s(1)
            self.other.pass_s(1)

    def tell(self, to, device="drone-1", **more):
        self.seq += 1
        found = Report.from_json(report(**{"seq": self.seq, **more}))
        return Intake(to.service).take(device, found)


@pytest.fixture
def two(make_fleet, store):
    return Two(make_fleet, store)


def test_what_a_device_says_to_one_server_is_shown_by_the_other(two):
    two.tell(two.one, state=state(queue={"files": 7, "bytes": 70}))
    two.pass_s(2)

    row = two.other.row()

    assert (row["presence"], row["pending_files"], row["version"]) == ("online", 7, "1.0")
    assert json.loads(two.other.operations.document("drone-1"))["files"] == {
        "pending": [],
        "failed": [],
    }


def test_what_was_said_last_counts_whoever_writes_it_first(two):
    two.tell(two.one, state=state(queue={"files": 1}))
    two.other.clock.pass_s(0.5)
    two.one.clock.pass_s(0.5)
    two.tell(two.other, info=None, files=None, state=state(queue={"files": 2}))
    two.other.service.write()
    two.one.service.write()
    two.pass_s(2)

    assert [each.row()["pending_files"] for each in (two.one, two.other)] == [2, 2]
    assert json.loads(two.one.store.document("drone-1", "state"))["queue"]["files"] == 2


def test_a_device_is_asked_for_its_documents_once_and_its_events_are_kept_once(two):
    event = {"id": "e1", "type": "edgeup.file.failed", "seq": 1, "data": {}}
    first = two.tell(two.one, events=[event])
    two.pass_s(2)
    second = two.tell(two.other, info=None, state=None, files=None, events=[event])

    assert (first["want"], second["want"]) == ([], [])
    assert (first["through"], second["through"]) == (1, 1)
    assert first["run"] == second["run"], "the agent begins nothing anew"
    assert len(two.one.operations.past.events(None, after=None, limit=9)["events"]) == 1


def test_a_command_given_to_one_server_goes_out_with_the_next_answer_of_the_other(two):
    two.tell(two.one)
    two.pass_s(2)
    given = two.one.operations.give("drone-1", "pause", {}, None, "me")["id"]

    assert [one["id"] for one in two.tell(two.other)["commands"]] == [given]


def test_an_answered_command_is_not_told_again_by_a_server_that_has_not_heard_of_the_answer(two):
    two.tell(two.one)
    two.pass_s(2)
    given = two.one.operations.give("drone-1", "pause", {}, None, "me")["id"]
    assert two.tell(two.other)["commands"]
    two.tell(two.other, acks=[{"id": given, "status": "done", "code": "ok"}])

    assert two.tell(two.one)["commands"] == []
    assert two.one.operations.command("drone-1", given)["status"] == "done"


def test_a_command_that_was_answered_is_not_expired_by_who_waits_for_it_still(two):
    two.tell(two.one)
    two.pass_s(2)
    given = two.one.operations.give("drone-1", "pause", {}, 120, "me")["id"]
    two.tell(two.other, acks=[{"id": given, "status": "accepted"}])
    two.one.clock.pass_s(130)
    two.one.service.tick()

    assert two.other.operations.command("drone-1", given)["status"] == "accepted"


def test_of_two_wishes_that_go_by_one_version_one_is_refused(two):
    two.tell(two.one)
    two.pass_s(2)
    first = two.one.operations.desire("drone-1", {"paused": True}, {0})

    with pytest.raises(Refused, match="precondition-failed") as refused:
        two.other.operations.desire("drone-1", {"paused": False}, {0})
    second = two.other.operations.desire("drone-1", {"paused": False}, {first})

    assert "version 1" in str(refused.value)
    assert (first, second) == (1, 2)
    assert two.tell(two.one)["desired"]["version"] == 2


def test_a_device_that_says_goodbye_to_one_server_is_offline_at_both(two):
    two.tell(two.one)
    two.pass_s(2)
    two.tell(two.other, info=None, state=None, files=None, status="offline")
    two.pass_s(2)

    assert [each.row()["presence"] for each in (two.one, two.other)] == ["offline", "offline"]


def test_two_agents_with_one_id_are_told_though_each_reports_to_a_server_of_its_own(two):
    told = []
    for _ in range(6):
        for to, run in ((two.one, "run-1"), (two.other, "run-2")):
            told.append(two.tell(to, run_id=run)["contested"])
            two.pass_s(2)

    assert not any(told[:4])
    assert all(told[-2:])


def test_a_device_that_starts_all_the_time_is_one_agent_at_both_servers(two):
    told = []
    for start in range(6):
        for to in (two.one, two.other, two.one):
            told.append(two.tell(to, run_id=f"run-{start}")["contested"])
            two.pass_s(2)

    assert not any(told)


def test_a_device_that_one_server_forgets_is_gone_at_the_other(two):
    two.tell(two.one)
    two.pass_s(2)
    two.one.operations.forget("drone-1")
    two.pass_s(2)

    assert two.other.service.board.row("drone-1") is None
    two.tell(two.other)
    two.pass_s(2)
    assert two.one.row()["presence"] == "online"


def test_a_server_that_starts_knows_what_the_other_has_heard(two, make_fleet):
    two.tell(two.one, state=state(queue={"files": 3}))
    two.pass_s(2)
    third = make_fleet(two.one.store)

    assert (third.row()["pending_files"], third.row()["presence"]) == (3, "online")
    assert third.service.members["drone-1"].lacks == set()


def test_what_is_missing_here_is_seen_by_both_servers(two):
    two.tell(two.one)
    two.pass_s(2)
    two.one.hold(("a.mp4", 10, "verified"))
    two.pass_s(5)

    assert [[one["device"] for one in each.stuck()] for each in (two.one, two.other)] == [
        ["drone-1"],
        ["drone-1"],
    ]


def test_a_server_that_was_told_the_time_late_takes_what_comes_to_it_next_all_the_same(two):
    two.tell(two.one, state=state(queue={"files": 1}))
    two.one.service.write()
    two.other.service.store_clock._ahead_s -= 3.0
    two.tell(two.other, info=None, files=None, state=state(queue={"files": 2}))
    two.other.service.write()

    assert json.loads(two.one.store.document("drone-1", "state"))["queue"]["files"] == 2


def test_what_a_crash_of_the_store_took_is_found_again(two):
    two.tell(two.one)
    two.pass_s(2)
    two.other.service.sharing._after += 5  # numbers that the store gave, and lost
    two.tell(two.one, state=state(queue={"files": 4}))
    two.pass_s(2)

    assert two.other.row()["pending_files"] == 4


def view(fleet, since=None):
    found = json.loads(fleet.service.view(since))
    return found["cursor"], found["is_whole"], [row["device"] for row in found["devices"]]


def test_who_looks_at_two_servers_in_turns_is_told_everything_once(two):
    two.tell(two.one)
    two.pass_s(2)
    cursor, *first = view(two.one)
    cursor, *second = view(two.other, cursor)
    two.pass_s(15)
    cursor, *third = view(two.one, cursor)
    two.tell(two.other, device="drone-2")
    two.pass_s(2)
    cursor, *fourth = view(two.other, cursor)
    _, *fifth = view(two.one, cursor)

    assert [first, second, third] == [[True, ["drone-1"]], [True, ["drone-1"]], [False, []]]
    assert [fourth, fifth] == [[False, ["drone-2"]], [False, ["drone-2"]]]


def test_what_one_server_told_is_put_right_by_the_other_that_knew_more(two):
    two.tell(two.one)
    two.pass_s(20)
    cursor, *_ = view(two.one, view(two.other)[0])
    two.tell(two.one, state=state(queue={"files": 9}))
    cursor, *_ = view(two.one, cursor)
    two.other.service.show(two.other.service.members["drone-1"])  # as it was there
    cursor, *late = view(two.other, cursor)
    _, *again = view(two.one, cursor)

    assert (late, again) == ([False, ["drone-1"]], [False, ["drone-1"]])


def test_what_a_device_refuses_since_each_server_brought_it_ten_is_brought_again_in_order(two):
    allowance, taken, refused = Allowance(10, 60.0), [], []
    acks: list[dict[str, str]] = []

    def report(to):
        nonlocal acks
        answer, acks, refusals = two.tell(to, acks=acks)["commands"], [], []
        for one in answer:
            if one["id"] in taken:
                continue
            if allowance.take(two.one.clock.now_s()):
                taken.append(one["id"])
                acks.append({"id": one["id"], "status": "done"})
            else:
                refused.append(one["id"])
                refusals.append({"id": one["id"], "status": "rejected", "code": "rate"})
        acks += refusals

    two.tell(two.one)
    two.pass_s(2)
    give = two.one.operations.give
    given = [give("drone-1", "pause", {}, 900, "me")["id"] for _ in range(10)]
    report(two.one)
    report(two.one)
    given += [give("drone-1", "resume", {}, 900, "me")["id"] for _ in range(5)]
    report(two.other)  # knows of no answer: the first has heard all
    report(two.one)
    report(two.other)
    two.pass_s(62)
    report(two.other)
    report(two.one)

    assert refused == given[10:]
    assert taken == given
    assert {one["status"] for one in two.other.operations.commands("drone-1")} == {"done"}
