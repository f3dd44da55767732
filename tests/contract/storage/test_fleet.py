"""What every store of the fleet does."""

from dataclasses import replace

import pytest

from ingest_server.storage.interface import (
    CommandRecord,
    DeviceEvent,
    Held,
    HoldsStanding,
    Samples,
)
from ingest_server.storage.interface import fleet as bounds
from ingest_server.storage.interface import holds as held_bounds


def command(number, device="drone-1", **more):
    given = {
        "id": f"c{number}",
        "device": device,
        "cmd": "pause",
        "args": {"for_s": 60},
        "created_at": "2026-11-29T10:00:00Z",
        "expires_at": "2026-11-29T10:02:00Z",
        "by": "operator",
    }
    return CommandRecord(**{**given, **more})


def event(number, device="drone-1"):
    return DeviceEvent(device, f"e{number}", "edgeup.file.failed", "2026-11-29T10:00:00Z", b"{}")


def held(number, **more):
    given = {
        "file_id": f"f{number:06}",
        "name": f"DJI_{number:04}.MP4",
        "folder": "day",
        "length": 10,
        "mtime_s": 1000 + number,
        "state": "stable",
        "reason": "metered",
    }
    return Held(**{**given, **more})


def test_a_device_is_known_with_what_it_said_last(fleet):
    fleet.save({"drone-1": b'{"n":1}'}, {("drone-1", "state"): b"old", ("drone-1", "info"): b"i"})
    fleet.save({"drone-1": b'{"n":2}'}, {("drone-1", "state"): b"new"})

    [found] = fleet.devices()

    assert (found.device, found.facts, found.state, found.info) == (
        "drone-1",
        b'{"n":2}',
        b"new",
        b"i",
    )


def test_a_document_is_found_by_device_and_kind(fleet):
    fleet.save({}, {("drone-1", "files"): b"f"})

    assert fleet.document("drone-1", "files") == b"f"
    assert fleet.document("drone-2", "files") is None
    assert fleet.document("drone-1", "info") is None


def test_a_command_is_replaced_by_its_id(fleet):
    fleet.put_command(command(1), is_durable=True)
    fleet.put_command(replace(command(1), status="done", code="ok", result={"files": 3}))

    found = fleet.command("drone-1", "c1")

    assert (found.status, found.result, found.args) == ("done", {"files": 3}, {"for_s": 60})
    assert fleet.unanswered() == []


def test_a_command_of_another_device_cannot_be_had_or_overwritten_by_its_id(fleet):
    fleet.put_command(command(1))
    fleet.put_command(command(1, device="drone-2", cmd="resume"))

    assert fleet.command("drone-2", "c1") is None
    assert fleet.command("drone-1", "c1").cmd == "pause"


def test_commands_are_told_newest_first_and_those_without_an_answer_oldest_first(fleet):
    for number in range(3):
        fleet.put_command(command(number))

    assert [one.id for one in fleet.commands("drone-1")] == ["c2", "c1", "c0"]
    assert [one.id for one in fleet.unanswered()] == ["c0", "c1", "c2"]


def test_of_commands_with_an_answer_the_newest_are_kept(fleet, monkeypatch):
    for number in range(bounds.KEPT_COMMANDS + 3):
        fleet.put_command(command(number, status="done"))

    kept = fleet.commands("drone-1", 1000)

    assert len(kept) == bounds.KEPT_COMMANDS
    assert kept[-1].id == "c3"


def test_an_event_is_kept_once(fleet):
    assert [one.number for one in fleet.add_events([event(1), event(2)])] == [1, 2]

    assert [one.id for one in fleet.add_events([event(2), event(3)])] == ["e3"]
    assert [one.id for one in fleet.events("drone-1", after=None, limit=10)] == ["e1", "e2", "e3"]


def test_events_are_read_on_from_the_last_one(fleet):
    fleet.add_events([event(1), event(2), event(1, device="drone-2")])

    assert [one.id for one in fleet.events("drone-1", after=1, limit=10)] == ["e2"]
    assert [one.device for one in fleet.events(None, after=1, limit=1)] == ["drone-1"]
    assert [one.device for one in fleet.events(None, after=None, limit=1)] == ["drone-2"]


def test_of_events_of_a_device_the_newest_are_kept(fleet):
    for start in range(0, bounds.KEPT_EVENTS + 40, 20):
        fleet.add_events([event(number) for number in range(start, start + 20)])
    fleet.add_events([event(1, device="drone-2")])

    kept = fleet.events("drone-1", after=None, limit=5000)

    assert len(kept) == bounds.KEPT_EVENTS
    assert kept[0].id == "e40"


def test_samples_are_found_by_device_step_and_time(fleet):
    fleet.save(
        {},
        {},
        [
            Samples("drone-1", 60, 0, b"a"),
            Samples("drone-1", 60, 3600, b"b"),
            Samples("drone-2", 60, 3600, b"c"),
            Samples("drone-1", 900, 0, b"d"),
        ],
    )
    fleet.save({}, {}, [Samples("drone-1", 60, 3600, b"bb")])

    assert fleet.samples("drone-1", 60, 0) == [
        Samples("drone-1", 60, 0, b"a"),
        Samples("drone-1", 60, 3600, b"bb"),
    ]
    assert {one.packed for one in fleet.newest_samples(60, 3600)} == {b"bb", b"c"}


def test_samples_are_thinned_out_to_the_newest_runs(fleet):
    fleet.save({}, {}, [Samples("drone-1", 60, hour * 3600, b"x") for hour in (1, 2, 3, 900_000)])

    assert fleet.thin_out(60, 2, 10**10) == 2
    assert [one.start_s // 3600 for one in fleet.samples("drone-1", 60, 0)] == [3, 900_000]
    assert fleet.thin_out(60, 2, 10**10) == 0


def test_runs_of_a_clock_that_was_ahead_take_the_place_of_nothing_and_are_bounded(fleet):
    later = [Samples("drone-1", 60, (900_000 + hour) * 3600, b"x") for hour in range(5)]
    fleet.save({}, {}, [*later, *(Samples("drone-1", 60, one * 3600, b"x") for one in (1, 2, 3))])

    assert fleet.thin_out(60, 2, 4 * 3600) == 4

    kept = [one.start_s // 3600 for one in fleet.samples("drone-1", 60, 0)]
    assert kept == [2, 3, 900_003, 900_004]


def test_a_notice_stays_until_its_end_is_told(fleet):
    fleet.put_notice("silent drone-1", b"1")
    fleet.put_notice("silent drone-2", b"2")
    fleet.put_notice("silent drone-1", None)

    assert fleet.notices() == {"silent drone-2": b"2"}


def test_a_device_that_is_forgotten_leaves_nothing_and_others_keep_theirs(fleet):
    for device in ("drone-1", "drone-2"):
        fleet.save({device: b"{}"}, {(device, "info"): b"i"}, [Samples(device, 60, 0, b"x")])
        fleet.put_desired(device, b"d")
        fleet.put_command(command(1, device=device, id=f"of-{device}"))
        fleet.add_events([event(1, device)])
        fleet.take_holds(device, epoch="e", through=1, begins_anew=True, held=[held(1)], gone=[])

    fleet.forget("drone-1")

    assert [one.device for one in fleet.devices()] == ["drone-2"]
    assert fleet.document("drone-1", "desired") is None
    assert fleet.commands("drone-1") == []
    assert fleet.events("drone-1", after=None, limit=9) == []
    assert fleet.samples("drone-1", 60, 0) == []
    assert fleet.holds("drone-1") == []
    assert fleet.document("drone-2", "desired") == b"d"
    assert [one.id for one in fleet.commands("drone-2")] == ["of-drone-2"]
    assert len(fleet.holds("drone-2")) == 1


def test_what_a_device_holds_follows_its_changes(fleet):
    fleet.save({"drone-1": b"{}"}, {})
    fleet.take_holds(
        "drone-1", epoch="a", through=3, begins_anew=True, held=[held(1), held(2), held(3)], gone=[]
    )
    standing = fleet.take_holds(
        "drone-1",
        epoch="a",
        through=5,
        begins_anew=False,
        held=[held(2, state="verified")],
        gone=["f000001"],
    )

    assert standing == HoldsStanding("a", 5, 2)
    assert fleet.holds_standing("drone-1") == standing
    assert [(one.file_id, one.state) for one in fleet.holds("drone-1")] == [
        ("f000003", "stable"),
        ("f000002", "verified"),
    ]


def test_what_a_device_held_before_it_began_anew_is_gone(fleet):
    fleet.save({"drone-1": b"{}"}, {})
    fleet.take_holds("drone-1", epoch="a", through=9, begins_anew=True, held=[held(1)], gone=[])
    fleet.take_holds("drone-1", epoch="b", through=1, begins_anew=True, held=[held(2)], gone=[])

    assert [one.file_id for one in fleet.holds("drone-1")] == ["f000002"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"like": "dji_0002"}, [2]),
        ({"like": "%"}, [7]),
        ({"like": "NIGHT"}, [7]),
        ({"since_s": 1002, "until_s": 1003}, [3, 2]),
        ({"limit": 2}, [7, 3]),
        ({"after": (1003, "f000003"), "limit": 1}, [2]),
    ],
)
def test_what_a_device_holds_is_searched_and_paged(fleet, wanted, found):
    fleet.save({"drone-1": b"{}"}, {})
    rows = [held(1), held(2), held(3), held(7, name="100%.mp4", folder="night")]
    fleet.take_holds("drone-1", epoch="a", through=9, begins_anew=True, held=rows, gone=[])

    assert [int(one.file_id[1:]) for one in fleet.holds("drone-1", **wanted)] == found


def test_of_too_much_that_a_device_holds_the_newest_stays(fleet, monkeypatch):
    for module in (
        "ingest_server.storage.sql.fleet_holds",
        "ingest_server.storage.memory.fleet_holds",
    ):
        monkeypatch.setattr(f"{module}.MOST_HELD", 3)
    assert held_bounds.MOST_HELD == 100_000
    fleet.save({"drone-1": b"{}"}, {})
    standing = fleet.take_holds(
        "drone-1",
        epoch="a",
        through=5,
        begins_anew=True,
        held=[held(number) for number in range(5)],
        gone=[],
    )

    assert standing == HoldsStanding("a", 5, 3, is_full=True)
    assert [one.mtime_s for one in fleet.holds("drone-1")] == [1004, 1003, 1002]


def test_what_all_devices_hold_together_is_bounded(fleet, monkeypatch):
    for module in (
        "ingest_server.storage.sql.fleet_holds",
        "ingest_server.storage.memory.fleet_holds",
    ):
        monkeypatch.setattr(f"{module}.MOST_HELD_IN_ALL", 3)
    rows = [held(1), held(2)]
    for device in ("drone-1", "drone-2"):
        fleet.save({device: b"{}"}, {})
        fleet.take_holds(device, epoch="a", through=1, begins_anew=True, held=rows, gone=[])

    assert [len(fleet.holds(one)) for one in ("drone-1", "drone-2")] == [2, 1]
    assert fleet.holds_standing("drone-2").is_full


def test_what_was_said_earlier_never_takes_the_place_of_what_was_said_later(fleet):
    state = ("drone-1", "state")
    fleet.save({"drone-1": b"2"}, {state: b"two"}, said_s={"drone-1": 20.0, state: 20.0})
    fleet.save({"drone-1": b"1"}, {state: b"one"}, said_s={"drone-1": 10.0, state: 10.0})

    found = fleet.known("drone-1")

    assert (found.facts, found.said_s, found.state, found.state_s) == (b"2", 20.0, b"two", 20.0)
    assert fleet.known("drone-2") is None


def test_changes_are_told_once_each_with_what_is_gone(fleet):
    fleet.save({"drone-1": b"{}", "drone-2": b"{}"}, {})
    first = fleet.changes(0)
    fleet.save({"drone-2": b"new"}, {})
    fleet.put_desired("drone-3", b"wanted")
    fleet.forget("drone-1")
    second = fleet.changes(first.upto)

    assert sorted(one.device for one in first.devices) == ["drone-1", "drone-2"]
    told = {one.device: (one.facts, one.desired) for one in second.devices}
    assert told == {"drone-2": (b"new", None), "drone-3": (b"{}", b"wanted")}
    assert (list(first.gone), list(second.gone)) == ([], ["drone-1"])
    assert fleet.changes(second.upto) == replace(second, devices=[], gone=[])


def test_a_device_that_comes_back_is_gone_no_more(fleet):
    fleet.save({"drone-1": b"{}"}, {})
    fleet.forget("drone-1")
    fleet.save({"drone-1": b"again"}, {})
    found = fleet.changes(0)

    assert ([one.facts for one in found.devices], list(found.gone)) == ([b"again"], [])


@pytest.mark.parametrize("late", ["expired", "sent", "accepted"])
def test_a_command_that_came_to_its_end_stays_what_it_was(fleet, late):
    fleet.put_command(command(1))

    assert fleet.put_command(replace(command(1), status="done"))
    assert not fleet.put_command(replace(command(1), status=late))
    assert fleet.command("drone-1", "c1").status == "done"


def test_a_command_that_its_device_has_taken_is_not_expired_by_who_has_not_heard_of_that(fleet):
    fleet.put_command(command(1))
    fleet.put_command(replace(command(1), status="accepted"))

    assert not fleet.put_command(replace(command(1), status="expired"), over_open=True)
    assert fleet.put_command(replace(command(1), status="done"))


def test_of_two_who_want_other_settings_at_once_one_is_told_that_it_is_late(fleet):
    assert fleet.put_desired("drone-1", b"first")
    assert not fleet.put_desired("drone-1", b"second")
    assert fleet.put_desired("drone-1", b"third", over=b"first")
    assert fleet.document("drone-1", "desired") == b"third"


def test_unanswered_commands_are_found_by_device(fleet):
    fleet.put_command(command(1))
    fleet.put_command(command(2, device="drone-2"))

    assert [one.id for one in fleet.unanswered("drone-2")] == ["c2"]


def test_changes_that_do_not_go_on_from_where_the_list_is_are_not_applied(fleet):
    fleet.save({"drone-1": b"{}"}, {})
    whole = {"epoch": "a", "begins_anew": True, "held": [held(1)], "gone": []}
    first = fleet.take_holds("drone-1", through=3, over=HoldsStanding(), **whole)
    late = fleet.take_holds("drone-1", through=2, over=HoldsStanding(), **whole)

    assert (first, late) == (HoldsStanding("a", 3, 1), HoldsStanding("a", 3, 1))
