"""What the demo says about what the agent tells."""

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


def test_a_document_of_another_shape_is_no_reason_to_stop():
    story = Story("")

    assert list(story.event({"type": "edgeup.file.completed", "data": None})) == []
    assert list(story.state({})) == []
    assert list(story.log("agent", {"event": "x"})) == []
