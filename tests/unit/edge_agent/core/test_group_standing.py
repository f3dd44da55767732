"""When a group is whole: whose list, whose next recording, and which quiet says so."""

import pytest

from edge_agent.core.families import place_of
from edge_agent.core.group_standing import GroupFile, missing_parts, standing
from edge_agent.core.upload import State
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

QUIET_S = 120.0


def member(name, state=State.STABLE, folder="F"):
    place = place_of(folder, name)
    receipt = None
    if state in (State.VERIFIED, State.KEPT, State.RELEASED):
        receipt = Receipt(
            upload_id="a" * 32,
            device="cam",
            name=name,
            length=8,
            digest=Digest(bytes(32)),
            verified_at="2026-11-21T00:00:00Z",
            verified_against="client",
            published_as=name,
        )
    return GroupFile(
        1, name, folder, place.role, place.part, place.pattern, state, 8, None, receipt
    )


def look(*members, quiet_for_s=0.0, has_later=False, **more):
    return standing(members, quiet_for_s=quiet_for_s, quiet_s=QUIET_S, has_later=has_later, **more)


def test_a_group_is_whole_after_a_quiet_time_and_not_before():
    clip = member("a.mp4"), member("a.srt")

    assert not look(*clip, quiet_for_s=QUIET_S - 1).is_whole
    assert look(*clip, quiet_for_s=QUIET_S).is_whole


def test_a_later_recording_of_the_camera_ends_the_wait():
    assert look(member("GX010001.MP4"), member("GX020001.MP4"), has_later=True).is_whole


@pytest.mark.parametrize("state", [State.SEEN, State.GROWING])
def test_nothing_is_whole_while_one_of_it_is_written_to(state):
    clip = member("GX010001.MP4", State.VERIFIED), member("GX020001.MP4", state)

    assert not look(*clip, quiet_for_s=1e9, has_later=True).is_whole


def test_chapters_before_the_last_that_never_came_are_missed_by_their_names():
    clip = member("GX010001.MP4", State.KEPT), member("GX040001.MP4", State.KEPT)

    found = look(*clip, quiet_for_s=QUIET_S)

    assert found.missing == ("GX020001.MP4", "GX030001.MP4")
    assert not found.is_complete(clip)


def test_a_group_is_complete_once_all_that_it_has_arrived():
    sent, kept_back = member("a.lrv", State.RELEASED), member("a.mp4")

    assert not look(sent, kept_back, quiet_for_s=QUIET_S).is_complete((sent, kept_back))
    arrived = (sent, member("a.mp4", State.VERIFIED))
    assert look(*arrived, quiet_for_s=QUIET_S).is_complete(arrived)


def test_the_recorders_own_list_ends_the_wait_as_soon_as_all_of_it_is_there():
    bag = member("run_0.mcap"), member("run_1.mcap"), member("metadata.yaml")

    assert look(*bag, listed=["run_0.mcap", "run_1.mcap"]).is_whole
    assert not look(*bag, listed=["run_0.mcap", "run_1.mcap", "run_2.mcap"]).is_whole
    late = look(*bag, listed=["run_0.mcap", "run_1.mcap", "run_2.mcap"], quiet_for_s=QUIET_S)
    assert (late.is_whole, late.missing) == (True, ("run_2.mcap",))


def test_a_list_that_is_written_at_the_end_is_waited_for_ten_times_as_long():
    bag = (member("run_0.mcap"),)

    assert not look(*bag, quiet_for_s=9 * QUIET_S, waits_for_list=True).is_whole
    assert look(*bag, quiet_for_s=10 * QUIET_S, waits_for_list=True).is_whole


def test_a_chapter_number_without_end_makes_no_list_without_end():
    assert len(missing_parts((member("GX990001.MP4"),))) == 98
