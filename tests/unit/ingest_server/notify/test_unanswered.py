"""What a target takes and never answers: who waits for it, in hours that pass by hand."""

from contextlib import ExitStack

import pytest

from ingest_server.core import events
from ingest_server.notify.deliveries import IDLE_S, Outcome, Told
from tests.support.delivery_desk import Desk, Fake


class Chokes(Fake):
    """Does not answer some events, and takes its time for that; answers every other one at once."""

    def __init__(self, folder, chokes_on):
        super().__init__()
        self._chokes_on = chokes_on
        self.desk = Desk(folder, self)

    def tell(self, event):
        super().tell(event)
        if not self._chokes_on(event):
            return Told(Outcome.DONE)
        self.desk.site.clock.seconds += 15.0
        return Told(Outcome.SILENT, "no answer within 15 s")

    def run_for(self, seconds):
        """Let its worker run for a while, or until nothing waits."""
        clock, uptime = self.desk.site.clock, self.desk.site.store.uptime
        until_s = clock.seconds + seconds
        while clock.seconds < until_s:
            pause_s = self.desk.worker.step()
            first = self.desk.outbox.next(self.name)
            if first is None:
                return
            if pause_s == IDLE_S:  # not each second of a wait of hours
                pause_s = max(pause_s, first.next_try_s - uptime.now_s())
            clock.seconds += min(pause_s, until_s - clock.seconds)


@pytest.fixture
def choking(tmp_path):
    """Make a target that chokes on some events, and its worker."""
    with ExitStack() as made:

        def make(chokes_on):
            target = Chokes(tmp_path / "data", chokes_on)
            made.callback(target.desk.site.stop)
            return target

        yield make


def names_of(told):
    return [one.data["name"] for one in told]


def test_two_events_that_a_target_does_not_answer_hold_up_no_other_and_fail_alone(choking):
    target = choking(lambda event: event.data["name"].startswith("bad"))
    for name in ("bad1", "bad2", "good1", "good2", "good3"):
        target.desk.site.create(name)

    target.run_for(60)
    assert names_of(target.told)[:5] == ["bad1", "bad2", "good1", "good2", "good3"]
    target.desk.site.create("new")
    target.run_for(60)
    assert "new" in names_of(target.told)
    target.run_for(26 * 3600)

    assert {
        one.event.data["name"]: (one.state, one.tries) for one in target.desk.outbox.listing()
    } == {
        "bad1": ("dead", 8),
        "bad2": ("dead", 8),
        **dict.fromkeys(("good1", "good2", "good3", "new"), ("done", 1)),
    }


def test_a_type_of_events_that_a_target_does_not_answer_holds_up_no_other_type(choking):
    """However many of it wait, as after a landing: of each upload its own order is kept."""
    target = choking(lambda event: event.type == events.COMPLETED)
    for number in range(40):
        target.desk.site.complete(target.desk.site.create(f"{number}.mp4", 0), b"")
    target.run_for(60)
    target.desk.site.create("new.mp4")

    target.run_for(150)

    created = [one.data["name"] for one in target.told if one.type == events.CREATED]
    assert created == [*(f"{number}.mp4" for number in range(40)), "new.mp4"]
    first_of = {one.subject: one.type for one in reversed(target.told)}
    assert set(first_of.values()) == {events.CREATED}


def test_a_target_that_hangs_costs_one_timeout_a_minute_and_nothing_is_given_up_for_another(
    choking,
):
    is_hanging = [True]
    target = choking(lambda event: is_hanging[0])
    names = [f"{number}.mp4" for number in range(100)]
    for name in names:
        target.desk.site.create(name)

    target.run_for(3600)
    assert len(target.told) == 51  # the rests of the first minutes are shorter
    assert names_of(target.told) == names[:51]
    is_hanging[0] = False
    target.run_for(75)

    assert {one.state for one in target.desk.outbox.listing()} == {"done"}
