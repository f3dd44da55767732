"""Is anything stuck? A sentence, since when, and what to do."""

import pytest

from ingest_server.storage.interface import DeviceSummary
from tests.support.fleet import state

DAY_S = 86_400


def queue(**more):
    return {"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 0, **more}


def sending(acknowledged):
    current = {"file_id": "f", "name": "a", "length": 100, "acknowledged": acknowledged}
    return state(state="uploading", current=current, queue=queue(files=1, bytes=100))


def test_a_device_that_goes_on_is_not_stuck(fleet):
    fleet.report(state=sending(1))

    assert fleet.stuck() == []


def test_no_progress_while_online_is_told_after_a_quarter_of_an_hour(fleet):
    for _ in range(31):
        fleet.report(state=sending(1))
        fleet.pass_s(30)

    [found] = fleet.stuck()
    assert "nothing of it has arrived" in found["why"]
    assert found["since"] == "2026-11-29T10:00:00Z"
    assert fleet.row()["trouble"] >= 32


def test_progress_ends_it(fleet):
    for _ in range(31):
        fleet.report(state=sending(1))
        fleet.pass_s(30)
    fleet.report(state=sending(2))

    assert fleet.stuck() == []


@pytest.mark.parametrize(
    ("name", "detail", "told", "do"),
    [
        ("blocked", "the quota is used up", "used up", "Mend what it names"),
        ("paused", None, "paused", "resume"),
        ("waiting_window", "the link is metered", "metered", "upload_now"),
        ("uploading", None, "has waited for 26 h.", "More is recorded"),
    ],
)
def test_the_oldest_that_waits_too_long_while_online_is_told(fleet, name, detail, told, do):
    old = queue(files=3, bytes=9, oldest_age_s=26 * 3600)
    fleet.report(state=state(state=name, blocked_detail=detail, queue=old))

    [found] = fleet.stuck()

    assert "26 h" in found["why"]
    assert told in found["why"]
    assert do in found["do"]
    assert found["since"] == "2026-11-28T08:00:00Z"


def test_failed_recordings_are_told_with_what_to_do(fleet):
    fleet.report(state=state(queue=queue(failed=2)))

    [found] = fleet.stuck()

    assert found["why"] == "2 recordings failed and are not tried again."
    assert "retry_failed" in found["do"]


def test_two_agents_under_one_name_are_told(fleet):
    fleet.report(state=state(problems=["clock_unsynced", "duplicate_id"]))

    [found] = fleet.stuck()

    assert "Two agents or more report as this device" in found["why"]
    assert "its own device_id and token" in found["do"]


def test_silence_with_recordings_waiting_is_told(fleet):
    fleet.report(next_s=30, state=state(queue=queue(files=1, bytes=1)))
    assert fleet.stuck() == []

    fleet.pass_s(200)

    [found] = fleet.stuck()
    assert found["why"] == "It is silent while 1 recording waits there."


def test_what_is_complete_there_and_not_here_is_told(fleet):
    fleet.uploaders = [DeviceSummary("drone-1", None, "", {"complete": 1})]
    fleet.report(next_s=7200)
    fleet.pass_s(61)
    assert fleet.stuck() == []

    fleet.uploaders = [DeviceSummary("drone-1", None, "", {"failed": 1})]
    fleet.pass_s(61)

    [found] = fleet.stuck()
    assert "this server has none" in found["why"]


def test_what_was_complete_long_ago_may_have_been_removed_since(fleet):
    fleet.uploaders = [DeviceSummary("drone-1", None, "", {})]
    fleet.report(next_s=7200, state=state(last_completed_at="2026-11-20T09:00:00Z"))
    fleet.pass_s(61)

    assert fleet.stuck() == []


def test_a_recording_that_is_safe_only_according_to_its_device_is_told_by_name(fleet):
    fleet.completed = [("drone-1", 500, "a.mp4"), ("drone-2", 700, "lost.mp4")]
    fleet.report(next_s=7200)
    fleet.hold(("a.mp4", 500, "verified"), ("lost.mp4", 700, "verified"), ("new.mp4", 9, "pending"))
    fleet.pass_s(2)

    [found] = fleet.stuck()
    assert found["why"] == (
        "It says that lost.mp4 is safe here, and this server has never had all of it."
    )
    assert "edge-agent upload FILE" in found["do"]
    assert fleet.row()["trouble"] >= 32

    fleet.completed.append(("drone-1", 700, "lost.mp4"))
    fleet.pass_s(62)
    assert fleet.stuck() == [], "it was sent again"


@pytest.mark.parametrize(
    ("held", "here", "missing"),
    [
        ([("renamed.mp4", 5)], [("a.mp4", 5)], 0),
        ([("a.mp4", 5), ("b.mp4", 5)], [("b.mp4", 5)], 1),
        ([("a.mp4", 5), ("a.mp4", 5)], [("a.mp4", 5), ("a.mp4", 5), ("a.mp4", 5)], 0),
        ([("a.mp4", 5), ("a.mp4", 6)], [("a.mp4", 6)], 1),
        ([(f"{n}.mp4", n) for n in range(1200)], [(f"{n}.mp4", n) for n in range(2, 1200)], 2),
    ],
)
def test_each_recording_that_is_safe_has_an_upload_of_its_own_here(fleet, held, here, missing):
    fleet.completed = [("drone-1", length, name) for name, length in here]
    fleet.report(next_s=7200)
    fleet.hold(*((name, length, "verified") for name, length in held))
    fleet.pass_s(2)

    assert fleet.service.members["drone-1"].missing.count == missing
    assert len(fleet.stuck()) == (missing > 0)


def test_of_very_many_some_are_told_and_all_are_counted(fleet):
    for number in range(60):
        fleet.report(f"drone-{number}", state=state(queue=queue(failed=1)))

    assert len(fleet.stuck()) == 50
    assert b'"stuck_in_all":60' in fleet.service.view(None)


def test_of_many_devices_that_miss_something_each_has_its_turn(fleet):
    devices = [f"drone-{number}" for number in range(100)]
    for device in devices:
        fleet.report(device)
        fleet.hold(("a.mp4", 5, "verified"), device=device)
    fleet.pass_s(150)  # one a second; those with something missing ask again each minute

    assert [fleet.service.members[one].missing.count for one in devices] == [1] * 100
