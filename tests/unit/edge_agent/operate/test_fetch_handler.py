"""Recordings that somebody far away wants now: the right ones, past what holds them, followed to their end."""

import pytest

from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import UploadSettings
from edge_agent.core.schedule import URGENT, PriorityRule
from edge_agent.core.upload import PENDING, Event, State
from edge_agent.operate.fetch_handler import FetchHandler
from edge_agent.store import priorities
from tests.support.command_site import command_site

NEVER = "00:00-24:00 off"
METERED = LinkSettings(match="wwan*", metered=True)


class Site:
    """A device with recordings of some hours, and somebody who asks for them."""

    def __init__(self, made):
        self.made = made
        self.lane = made.lane
        self.join()

    def join(self):
        made = self.made
        made.more = FetchHandler(
            made.store, self.lane.activity, self.lane.sender, wake_watcher=lambda: None
        ).handlers()
        made.open()

    def restart(self):
        self.lane.restart()
        self.join()

    def record(self, name, hour):
        """Record a file that was written at *hour* of the day."""
        at_s = 1795910400 + hour * 3600  # from 2026-11-29T00:00:00Z on
        return self.lane.record(name, name.encode() * 100, written_s=at_s)

    def fetch(self, **args):
        """Send the command; return its first answer and the document."""
        document = self.made.document("fetch", args)
        (ack,) = self.made.take(document)
        return ack

    def end(self):
        """Let the desk look once more; return what it says then, if that is something new."""
        self.made.clock.pass_s(11)
        self.made.desk.step(self.made.clock.now_s())
        acks = self.made.tell()
        return acks[-1] if acks else None

    def run(self):
        self.made.clock.pass_s(3)
        self.lane.run(until=lambda: self.lane.activity.blocked_by is not None)

    @property
    def arrived(self):
        return list(self.lane.server.published)


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as made:
        yield Site(made)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"to": "9999-12-31"}, 1),
        ({"to": "9999-12-31T00:00:00Z"}, 1),
        ({"to": "2300-01-01"}, 1),
        ({"from": "0001-01-01T00:00:00+23:59"}, 1),
        ({"from": "2300-01-01"}, 0),
        ({"to": "0001-01-02"}, 0),
    ],
)
def test_a_time_that_no_file_can_have_is_before_or_behind_all_of_them(site, query, found):
    site.record("a.mp4", 3)

    ack = site.fetch(query=query)
    end = site.end() or ack

    assert end["code"] == ("ok" if found else "unknown_file")
    assert end["result"].get("wanted", 0) == found


def test_what_fits_by_name_goes_first_and_is_followed_until_it_is_there(site):
    for name in ("a.mp4", "b.mp4", "wanted-1.mp4", "Wanted-2.MP4"):
        site.record(name, 3)

    ack = site.fetch(query={"name": "wanted-*"})
    assert (ack["status"], ack["code"]) == ("accepted", "ok")
    waits = site.end()
    site.lane.run(until=lambda: len(site.arrived) >= 2)
    done = site.end()

    assert waits["result"]["wanted"] == 2
    assert waits["result"]["arrived"] == 0
    assert sorted(site.arrived) == ["Wanted-2.MP4", "wanted-1.mp4"]
    assert done["status"] == "done"
    assert done["message"] == "2 of 2 have arrived"
    assert {one["name"] for one in done["result"]["files"]} == {"wanted-1.mp4", "Wanted-2.MP4"}
    assert all(one["published_as"] for one in done["result"]["files"])
    assert done["result"]["bytes_arrived"] == done["result"]["bytes"] == 2 * 1200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"from": "2026-11-29T05:00:00Z", "to": "2026-11-29T07:00:00Z"}, ["5.mp4", "6.mp4"]),
        ({"from": "2026-11-29T06:00:00+01:00", "to": "2026-11-29T06:00:00"}, ["5.mp4"]),
        ({"from": "2026-11-29T08:00:00Z"}, ["8.mp4", "9.mp4"]),
        ({"to": "2026-11-29", "name": "1.mp4|2.mp4"}, ["1.mp4", "2.mp4"]),
        ({"name": "7.*"}, ["7.mp4"]),
    ],
)
def test_a_time_span_is_of_when_files_were_written(query, found, site):
    for hour in range(10):
        site.record(f"{hour}.mp4", hour)

    site.fetch(query=query)
    site.end()
    site.lane.run(until=lambda: len(site.arrived) >= len(found))

    assert sorted(site.arrived) == found


def test_what_rules_hold_back_goes_over_a_metered_link_only_if_that_is_said(site):
    site.lane.interface = lambda: "wwan0"
    site.restart()
    site.lane.sender.reconfigure(UploadSettings(timetable=(NEVER,)), [METERED])
    rules = [PriorityRule("urgent/*", 50)]
    priorities.apply(site.made.store, rules)
    for name in ("1.mp4", "2.mp4"):
        site.record(name, 1)

    site.fetch(query={"name": "2.mp4"})
    waits = site.end()
    site.run()
    assert site.arrived == []
    waits = site.end() or waits
    site.fetch(query={"name": "2.mp4"}, metered=True)
    site.end()
    site.run()

    assert waits["status"] == "accepted"
    assert "0 of 1 have arrived; 2.mp4 waits (" in waits["message"]
    assert site.arrived == ["2.mp4"]


def test_after_a_power_cut_it_goes_on_with_the_same_recordings(site):
    first = site.record("1.mp4", 1)
    site.fetch(query={"name": "*.mp4"})
    site.end()

    site.restart()
    site.record("2.mp4", 2)
    site.lane.run(until=lambda: len(site.arrived) >= 2)
    done = site.end()

    assert done["status"] == "done"
    assert [one["file_id"] for one in done["result"]["files"]] == [first.id]


def test_a_power_cut_before_the_last_answer_is_written_takes_no_others(site):
    for hour in range(4):
        site.record(f"{hour}.mp4", hour)
    site.fetch(query={"name": "*"}, limit=2)
    site.end()
    site.lane.run(until=lambda: len(site.arrived) >= 2)
    site.made.clock.pass_s(11)
    site.made.store.commands = CutAtTheAnswer(site.made.store.commands)
    site.join()
    with pytest.raises(Cut):
        site.made.desk.step(site.made.clock.now_s())

    site.restart()
    done = site.end()

    assert done["result"]["arrived"] == 2
    assert {one["name"] for one in done["result"]["files"]} == {"2.mp4", "3.mp4"}
    assert [one.priority for one in site.made.store.in_states(*PENDING)] == [0, 0]


def test_what_a_fetch_found_is_forgotten_by_the_next_one(site):
    site.record("1.mp4", 1)
    site.lane.run()
    for _ in range(2):
        site.fetch(query={"name": "*.mp4"})
        site.end()
    (last,) = site.made.store.notes.named("fetch.")

    assert site.made.store.commands.find(last.removeprefix("fetch.")).is_final


class Cut(BaseException):
    """The power is gone: nothing after this runs."""


class CutAtTheAnswer:
    """The log of commands; the power goes before a last answer is in it."""

    def __init__(self, commands):
        self._commands = commands

    def __getattr__(self, name):
        return getattr(self._commands, name)

    def answer(self, command_id, ack, *, is_final):
        if is_final:
            raise Cut
        self._commands.answer(command_id, ack, is_final=is_final)


def test_the_newest_are_taken_where_more_fit_than_are_wanted(site):
    for hour in range(6):
        site.record(f"{hour}.mp4", hour)

    site.fetch(query={"name": "*"}, limit=2)
    waits = site.end()
    site.lane.run(until=lambda: len(site.arrived) >= 2)

    assert sorted(site.arrived)[:2] == ["4.mp4", "5.mp4"]
    assert waits["result"]["fitting"] == 6
    assert "the newest of 6 that fit" in waits["message"]
    assert "the same again" not in waits["message"], "it would take these"
    assert site.end()["message"].endswith(
        "(the newest of 6 that fit, what was not there first; the same again takes the next)"
    )


def test_the_same_fetch_again_takes_the_next_until_all_of_them_are_there(site):
    for hour in range(5):
        site.record(f"{hour}.mp4", hour)
    wanted, ends = [], []

    for _ in range(3):
        done = len(site.arrived)
        site.fetch(query={"name": "*"}, limit=2)
        site.end()
        site.lane.run(until=lambda least=done: len(site.arrived) >= min(5, least + 2))
        site.made.clock.pass_s(60)
        wanted.append(sorted(site.arrived[done : done + 2]))
        ends.append(site.end()["status"])

    assert wanted == [["3.mp4", "4.mp4"], ["1.mp4", "2.mp4"], ["0.mp4"]]
    assert ends == ["done"] * 3
    site.fetch(query={"name": "*"}, limit=2)
    assert site.end()["message"] == (
        "2 of 2 have arrived (the newest of 5 that fit, what was not there first)"
    )


def test_the_same_fetch_again_takes_the_next_though_the_newest_have_failed(site):
    store = site.made.store
    recorded = [site.record(f"{hour}.mp4", hour) for hour in range(5)]
    site.fetch(query={"name": "*"}, limit=2)
    site.end()
    for one in recorded[3:]:
        store.advance(store.get(one.id), Event.REJECTED, problem="too-large")
    failed = site.end()

    site.fetch(query={"name": "*"}, limit=4)
    site.end()
    noted = {one.id: one.priority for one in (store.get(each.id) for each in recorded)}

    assert (failed["status"], failed["result"]["failed"]) == ("failed", 2)
    assert "the same again takes the next" in failed["message"]
    assert [noted[one.id] == URGENT for one in recorded] == [True] * 5
    assert [store.get(one.id).state for one in recorded[3:]] == [State.FAILED, State.SEEN]


def test_where_all_that_is_left_has_failed_nothing_is_said_of_a_next_one(site):
    store = site.made.store
    for hour in range(5):
        store.advance(site.record(f"{hour}.mp4", hour), Event.REJECTED, problem="too-large")
    site.fetch(query={"name": "*"}, limit=2)
    site.end()
    for one in store.in_states(*PENDING):
        store.advance(one, Event.REJECTED, problem="too-large")

    said = site.end()["message"]

    assert said.startswith(
        "0 of 2 have arrived (the newest of 5 that fit, what was not there first); 2 failed"
    )


@pytest.mark.parametrize(
    ("problem", "code"), [("too-large", "not_sent"), ("source-missing", "source_missing")]
)
def test_what_fails_meanwhile_is_answered_with_why(site, problem, code):
    found = site.record("1.mp4", 1)
    site.fetch(query={"name": "1.mp4"})
    site.end()

    store = site.made.store
    now = store.get(found.id)
    store.advance(now, Event.REJECTED, problem=problem, detail="it says why")
    answer = site.end()

    assert (answer["status"], answer["code"]) == ("failed", code)
    assert f"1.mp4 ({problem}): it says why" in answer["message"]


def test_where_nothing_fits_a_sentence_says_so(site):
    site.record("1.mp4", 1)

    site.fetch(query={"name": "nothing"})
    answer = site.end()

    assert (answer["status"], answer["code"]) == ("failed", "unknown_file")
    assert "no recording that fits" in answer["message"]


def test_what_the_server_holds_already_is_there_at_once(site):
    site.record("1.mp4", 1)
    site.lane.run()

    site.fetch(query={"name": "1.mp4"})
    answer = site.end()

    assert (answer["status"], answer["message"]) == ("done", "1 of 1 have arrived")


@pytest.mark.parametrize(
    "query",
    [
        None,
        {},
        [],
        "x",
        {"name": ""},
        {"name": None},
        {"name": 7},
        {"name": "x" * 256},
        {"name": "a\nb"},
        {"path": "/etc"},
        {"name": "x", "url": "http://x"},
        {"from": "yesterday"},
        {"from": "2026-11-29T08:00:00Z", "to": "2026-11-29T07:00:00Z"},
    ],
)
def test_a_query_of_another_form_changes_nothing(query, site):
    one = site.record("1.mp4", 1)

    ack = site.fetch(query=query)

    assert (ack["status"], ack["code"]) == ("rejected", "malformed")
    assert site.made.store.get(one.id).priority == 0
