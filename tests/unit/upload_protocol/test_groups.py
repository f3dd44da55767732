"""What a device may say of a group, and where it ends."""

import pytest

from upload_protocol.groups import (
    MAX_MEMBERS,
    MAX_MISSING,
    MAX_NAME,
    MAX_PARTS,
    GroupMember,
    GroupReport,
)
from upload_protocol.messages import MessageError


def member(**more):
    return GroupMember("a.mp4", "", "original", 5).to_json() | more


def report(**more):
    return GroupReport("0" * 32, "gopro", "GX010001", "", ()).to_json() | {
        "members": [member()],
        **more,
    }


@pytest.mark.parametrize("part", [1, MAX_PARTS])
def test_parts_are_counted_from_one(part):
    assert GroupMember.from_json(member(part=part)).part == part


@pytest.mark.parametrize(
    "wrong",
    [
        {"part": 0},
        {"part": MAX_PARTS + 1},
        {"length": None},
        {"role": "director"},
        {"upload_id": "0"},
    ],
)
def test_a_member_that_is_none_is_refused(wrong):
    with pytest.raises(MessageError):
        GroupMember.from_json(member(**wrong))


@pytest.mark.parametrize("count", [1, MAX_MEMBERS])
def test_a_group_has_a_file_at_least_and_a_thousand_at_most(count):
    names = [member(name=f"{number}.mp4") for number in range(count)]

    assert len(GroupReport.from_json(report(members=names)).members) == count


def test_as_many_names_may_be_missing_and_be_as_long_as_this():
    missing = ["n" * MAX_NAME] * MAX_MISSING

    assert GroupReport.from_json(report(missing=missing)).missing == tuple(missing)


@pytest.mark.parametrize(
    "wrong",
    [
        {"group": "0" * 31},
        {"family": "Go Pro"},
        {"members": []},
        {"members": [member(name=f"{number}.mp4") for number in range(MAX_MEMBERS + 1)]},
        {"members": [member(), member()]},
        {"missing": ["a"] * (MAX_MISSING + 1)},
        {"missing": ["n" * (MAX_NAME + 1)]},
        {"device": "Drone 1"},
    ],
    ids=["id", "family", "none", "too many", "twice", "too much missing", "a name", "device"],
)
def test_a_report_that_is_none_is_refused(wrong):
    with pytest.raises(MessageError):
        GroupReport.from_json(report(**wrong))
