"""Groups of recordings: the same of every store of facts."""

from dataclasses import replace

import pytest

from ingest_server.core.events import GROUP_COMPLETED
from ingest_server.storage.interface import GroupRecord
from ingest_server.storage.interface import groups as interface
from tests.support.events import of_types
from upload_protocol.digests import Digest
from upload_protocol.groups import GroupMember

AT = "2026-11-21T10:00:00Z"
VIDEO = GroupMember("GX010001.MP4", "DCIM", "original", 8, 1, AT, Digest(bytes(32)), "a" * 32)
SMALL = GroupMember("GL010001.LRV", "DCIM", "proxy", 1)


def group(number=1, device="cam-1", **more):
    made = GroupRecord(
        device=device,
        id=f"{number:032x}",
        family="gopro",
        title="GX010001",
        folder="DCIM",
        members=(SMALL, VIDEO),
        missing=("GX020001.MP4",),
        is_whole=True,
        done=1,
        told_at=AT,
    )
    return replace(made, **more)


def found(state, one):
    return state.groups.find(one.device, one.id)


def events(state):
    return [one.event.type for one in state.outbox.listing()]


@pytest.fixture
def listened_to(state):
    state.outbox.register("hook")
    return state


def test_a_group_is_kept_as_it_was_told(state):
    state.groups.save(group())

    kept = found(state, group())
    assert replace(kept, seq=0) == group()
    assert (kept.expected, kept.length) == (3, 9)
    assert state.groups.find("cam-1", "f" * 32) is None


def test_two_devices_may_name_their_groups_alike(state):
    state.groups.save(group(device="cam-1"))
    state.groups.save(group(device="cam-2", title="other"))

    assert found(state, group(device="cam-1")).title == "GX010001"
    assert found(state, group(device="cam-2")).title == "other"


def test_a_group_is_complete_once_and_told_of_once(listened_to):
    groups = listened_to.groups
    groups.save(group())
    saved = found(listened_to, group())

    assert groups.complete(saved, "cam-1/x.group.json", AT, {"group": saved.id})
    assert not groups.complete(saved, "cam-1/y.group.json", AT, {"group": saved.id})

    kept = found(listened_to, group())
    assert (kept.state, kept.revision, kept.manifest) == ("complete", 1, "cam-1/x.group.json")
    listened_to.outbox.take_in("hook", of_types({GROUP_COMPLETED}))
    assert events(listened_to) == [GROUP_COMPLETED]


def test_what_changed_since_it_was_read_is_not_complete_by_it(state):
    state.groups.save(group())
    read = found(state, group())
    state.groups.save(group(done=0))

    assert not state.groups.complete(read, "m", AT, {})
    assert found(state, group()).state == "open"


@pytest.mark.parametrize(
    "others",
    [
        {"members": (VIDEO, replace(SMALL, name="GL020001.LRV"))},
        {"missing": ("GX030001.MP4",)},
        {"title": "GX020001"},
        {"folder": "DCIM/101"},
        {"family": "dji"},
        {"is_whole": False},
    ],
    ids=lambda others: next(iter(others)),
)
def test_nor_by_what_was_said_of_it_in_the_same_second(state, others):
    state.groups.save(group())
    read = found(state, group())
    state.groups.save(group(**others))

    assert not state.groups.complete(read, "m", AT, {})
    assert state.groups.complete(found(state, group()), "m", AT, {})


def test_a_group_that_is_told_anew_is_open_and_keeps_what_it_was(state):
    state.groups.save(group())
    state.groups.complete(found(state, group()), "first", AT, {})

    state.groups.save(group(done=2))

    again = found(state, group())
    assert (again.state, again.revision, again.manifest, again.done) == ("open", 1, "first", 2)
    assert state.groups.complete(again, "second", AT, {})
    assert (found(state, group()).revision, found(state, group()).manifest) == (2, "second")


def test_groups_are_listed_newest_first_by_page_device_and_state(state):
    for number in range(1, 6):
        state.groups.save(group(number, device=f"cam-{number % 2}"))
    state.groups.complete(found(state, group(5, device="cam-1")), "m", AT, {})

    def ids(**wanted):
        page = state.groups.page(**{"device": None, "state": None, "before": None} | wanted)
        return [int(one.id, 16) for one in page]

    assert ids(limit=9) == [5, 4, 3, 2, 1]
    assert ids(limit=2) == [5, 4]
    last = state.groups.page(device=None, state=None, before=None, limit=2)[-1]
    assert ids(before=last.seq, limit=9) == [3, 2, 1]
    assert ids(device="cam-1", limit=9) == [5, 3, 1]
    assert ids(device="cam-1", state="open", limit=9) == [3, 1]
    assert ids(state="complete", limit=9) == [5]


def test_a_device_that_tells_of_groups_without_end_is_known_by_its_newest(state, monkeypatch):
    monkeypatch.setattr(interface, "MOST_MEMBERS", 9)
    for module in ("sql", "memory"):
        monkeypatch.setattr(f"ingest_server.storage.{module}.groups.MOST_MEMBERS", 9)
    state.groups.save(group(1, device="cam-2"))

    for number in range(1, 7):
        state.groups.save(group(number))

    page = state.groups.page(device="cam-1", state=None, before=None, limit=99)
    assert [int(one.id, 16) for one in page] == [6, 5, 4]
    assert found(state, group(1, device="cam-2"))
