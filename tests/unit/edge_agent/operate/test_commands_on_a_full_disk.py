"""A command that cannot be written down is refused; of an answer that cannot be, the command runs again later."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from edge_agent.operate.command_handlers import Handler, Outcome
from tests.support.command_site import command_site


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as made:
        yield made


def is_paused(site):
    return site.store.orders.paused() is not None


def test_a_full_disk_refuses_a_command_that_cannot_be_written_down(site):
    with site.store._database.reading() as run:
        (pages,) = run.execute("PRAGMA page_count").fetchone()
        run.execute(f"PRAGMA max_page_count={pages}")
    answers: list[Any] = []
    while "store" not in answers and len(answers) < 200:
        site.clock.pass_s(60)
        answers += [one["code"] for one in site.take(site.document("report"))]
    done = len(site.called)

    (ack,) = site.take(site.document("pause", {"reason": "x" * 200}))

    assert (ack["status"], ack["code"]) == ("rejected", "store")
    assert "full" in ack["message"]
    assert not is_paused(site)
    assert len(site.called) == done

    with site.store._database.reading() as run:
        run.execute("PRAGMA max_page_count=1000000")
    site.desk.step(site.clock.now_s())

    assert {one["status"] for one in site.tell()} <= {"done"}
    assert site.store.commands.unfinished() == []
    assert site.do("pause")["status"] == "done"


def only_little_fits(site):
    """Let the disk have room for what is small, and for no long answer."""
    with site.store._database.reading() as run:
        (pages,) = run.execute("PRAGMA page_count").fetchone()
        run.execute(f"PRAGMA max_page_count={pages + 8}")


def all_fits(site):
    with site.store._database.reading() as run:
        run.execute("PRAGMA max_page_count=1000000")


def at_length(do):
    return lambda command: Outcome("at length", {"detail": "x" * 500_000, **do(command).result})


def test_the_log_names_the_command_whose_answer_cannot_be_written_and_a_later_one_waits(site):
    site.more = {"pause": Handler(at_length(site.handlers["pause"].do))}
    site.open()
    only_little_fits(site)

    with capture_logs() as lines:
        told = [*site.take(site.document("pause", id="older")), *site.take(site.document("resume"))]

    failed = [one for one in lines if one["event"] == "command.failed"]
    assert [(one["id"], one["cmd"]) for one in failed] == [("older", "pause")] * 2
    assert "full" in failed[0]["error"]
    assert told == []
    assert is_paused(site)
    assert site.desk.step(site.clock.now_s()) == 10.0

    all_fits(site)
    site.desk.step(site.clock.now_s())

    assert [(one["cmd"], one["status"]) for one in site.tell()] == [
        ("pause", "done"),
        ("resume", "done"),
    ]
    assert not is_paused(site)


def test_an_answer_that_cannot_be_written_holds_up_no_other_and_not_the_end_of_a_pause(site):
    is_much = [True]

    def rescan(_command):
        return Outcome("whole", {"detail": "x" * 500_000} if is_much.pop() else {})

    site.more = {"rescan": Handler(rescan, is_long=lambda: True)}
    site.open()
    site.do("pause", {"for_s": 60})
    for one in ("first", "second"):
        site.take(site.document("rescan", id=one))
    is_much[:] = [False, True]
    only_little_fits(site)
    site.clock.pass_s(60)

    assert site.desk.step(site.clock.now_s()) == 10.0

    assert [(one["id"], one["status"]) for one in site.tell()] == [("second", "done")]
    assert site.store.notes.get("paused") is None
