"""What the demo says about what the agent tells."""

import pytest

from demo.story import Line, Story


def _event(kind, **data):
    return {"type": f"edgeup.{kind}", "data": data}


def _state(**given):
    return {"state": "idle", "blocked_by": None, "current": None, "problems": [], **given}


def test_a_name_cannot_move_the_cursor():
    story = Story("published")

    [line] = story.event(_event("file.discovered", name="a\x1b[2J\r\n.mp4", length=5))

    assert line == Line("finished", "a\\x1b[2J\\x0d\\x0a.mp4 (5 B): nobody writes to it any more")


def test_a_completed_recording_is_verified_and_its_place_shown():
    story = Story("var/published")

    lines = list(
        story.event(
            _event(
                "file.completed",
                name="a.mp4",
                length=4_200_000,
                duration_s=3.21,
                bytes_resent=1500,
                published_as="drone-1/2026-11-21/a.mp4",
            )
        )
    )

    assert lines == [
        Line("verified", "a.mp4 in 3.2 s, 1.5 kB sent twice, SHA-256 verified by the server"),
        Line("published", "var/published/drone-1/2026-11-21/a.mp4"),
    ]


def test_a_lost_link_is_told_once_and_so_is_its_return():
    story = Story("")
    down = _state(problems=["server_unreachable"], blocked_by="link", blocked_detail="no answer")

    told = [list(story.state(one)) for one in (_state(), down, down, _state())]

    assert [[line.verb for line in lines] for lines in told] == [
        [],
        ["link lost"],
        [],
        ["link back"],
    ]


def test_progress_is_shown_only_while_something_is_sent():
    story = Story("")
    current = {"name": "a.mp4", "length": 2_000_000, "acknowledged": 300_000, "in_flight": 200_000}

    list(story.state(_state(current=current, rate_bytes_per_s=100_000, eta_s=15)))
    sending = story.progress
    list(story.state(_state()))

    assert sending == "a.mp4 25 %, 500.0 kB of 2.0 MB, 100.0 kB/s, 15 s left"
    assert story.progress is None


@pytest.mark.parametrize(("eta_s", "shown"), [(0, "under 1 s"), (3, "3 s"), (15, "15 s")])
def test_the_time_left_claims_no_more_than_the_agent_tells(eta_s, shown):
    story = Story("")
    current = {"name": "a.mp4", "length": 2_000_000, "acknowledged": 1_500_000, "in_flight": 0}

    list(story.state(_state(current=current, rate_bytes_per_s=1_000_000, eta_s=eta_s)))

    assert (story.progress or "").endswith(f", {shown} left")


def test_a_document_of_another_shape_is_no_reason_to_stop():
    story = Story("")

    assert list(story.event({"type": "edgeup.file.completed", "data": None})) == []
    assert list(story.state({})) == []
    assert list(story.log("agent", {"event": "x"})) == []


def _sending(acknowledged, *, seq, **given):
    current = {"file_id": "1", "name": "a.mp4", "length": 1000, "acknowledged": acknowledged}
    return _state(current=current, seq=seq, **given)


def _watched():
    """Return a story that has seen a recording begin."""
    story = Story("")
    list(story.event(_event("file.started", file_id="1", name="a.mp4", length=1000)))
    return story


def _told(story, *documents):
    return [line for document in documents for line in story.state(document)]


GOES_ON = Line("goes on", "a.mp4 at 55 %: what the server holds is not sent again")


def test_after_a_lost_link_it_says_where_the_upload_goes_on():
    story = _watched()
    down = _state(problems=["server_unreachable"], blocked_by="link", seq=2)

    told = _told(story, _sending(500, seq=1), down, _sending(550, seq=3), _sending(600, seq=4))

    assert [line.verb for line in told] == ["link lost", "link back", "goes on"]
    assert told[-1] == GOES_ON


def test_it_goes_on_only_when_what_was_broken_is_mended_and_the_agent_knows():
    story = _watched()
    _told(story, _sending(500, seq=1))

    story.interrupted()
    cut = _told(story, _sending(510, seq=2))
    story.mended()
    unaware = _told(story, _sending(510, seq=3))
    aware = _told(story, _sending(550, seq=4))

    assert (cut, unaware, aware) == ([], [], [GOES_ON])


def test_what_begins_after_the_break_does_not_go_on():
    story = Story("")
    story.interrupted()
    _told(story, _state(problems=["server_unreachable"], blocked_by="link", seq=1))
    story.mended()

    told = _told(story, _sending(0, seq=2), _sending(60, seq=3), _sending(300, seq=4))

    assert [line.verb for line in told] == ["link back"]


def test_an_agent_that_was_started_again_goes_on_where_it_was():
    story = _watched()
    _told(story, _sending(550, seq=70))

    story.interrupted()
    story.mended()

    assert _told(story, _sending(550, seq=2)) == [GOES_ON]


def test_what_is_verified_before_anything_says_that_it_goes_on_did_go_on():
    story = _watched()
    _told(story, _sending(550, seq=1))
    story.interrupted()
    _told(story, _state(problems=["server_unreachable"], blocked_by="link", seq=2))
    story.mended()

    completed = _event("file.completed", file_id="1", name="a.mp4", length=1000, duration_s=7.7)
    told = [*story.event(completed), *_told(story, _state(seq=3))]

    assert told == [
        GOES_ON,
        Line("verified", "a.mp4 in 7.7 s, SHA-256 verified by the server"),
        Line("link back", "the server answers again"),
    ]


def test_what_an_earlier_run_has_begun_goes_on_and_no_time_is_told_of_it():
    story = Story("")

    told = _told(story, _state(seq=1), _sending(550, seq=2), _sending(900, seq=3))
    completed = _event("file.completed", file_id="1", name="a.mp4", length=1000, duration_s=0.2)

    assert told == [GOES_ON]
    assert [line.text for line in story.event(completed)] == [
        "a.mp4 SHA-256 verified by the server"
    ]


def test_what_was_begun_a_moment_ago_does_not_go_on():
    story = _watched()

    assert _told(story, _sending(550, seq=1)) == []


def test_after_verified_nothing_says_that_it_is_still_being_sent():
    story = Story("")
    _told(story, _sending(910, seq=1))
    before = story.progress

    list(story.event(_event("file.completed", file_id="1", name="a.mp4")))
    at_once = story.progress
    _told(story, _sending(910, seq=2))

    assert before is not None
    assert (at_once, story.progress) == (None, None)


def test_what_is_not_sent_is_said_once_with_its_name_and_why():
    story = Story("")
    one = {"patterns": {"count": 1, "examples": ["holiday.iso"], "endings": ["iso"]}}
    four = {"patterns": {"count": 4, "examples": ["a.iso", "holiday.iso"], "endings": ["iso"]}}

    told = _told(
        story, *(_state(left_out=found, problems=["left_out"]) for found in (one, one, four))
    )

    assert told == [
        Line("ignored", "holiday.iso: no pattern of [watch] patterns fits"),
        Line("ignored", "a.iso: no pattern of [watch] patterns fits"),
        Line("ignored", "4 files in all: no pattern of [watch] patterns fits"),
    ]


@pytest.mark.parametrize(("seq_after", "timed"), [(1, ""), (4, " in 1.7 s,")])
def test_of_a_recording_that_another_agent_began_no_time_is_told(seq_after, timed):
    story = _watched()
    _told(story, _sending(500, seq=3))
    story.interrupted()
    story.mended()
    _told(story, _sending(550, seq=seq_after))

    completed = _event("file.completed", file_id="1", name="a.mp4", duration_s=1.7)
    told = [line.text for line in story.event(completed)]

    assert told == [f"a.mp4{timed} SHA-256 verified by the server"]
