"""Of two commands that contradict each other the later one holds, whatever befell the earlier one."""

import pytest

from edge_agent.operate.command_handlers import Handler
from tests.support.command_site import command_site


class Cut(BaseException):
    """The power is gone: nothing after this runs."""


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as made:
        yield made


def test_a_newer_command_does_not_overtake_one_that_a_power_cut_interrupted(site):
    def cut(_command):
        raise Cut

    site.more = {"pause": Handler(cut)}
    site.open()
    with pytest.raises(Cut):
        site.take(site.document("pause", id="older"))
    site.more = {}
    site.restart()

    told = site.take(site.document("resume", id="newer"), "server")
    site.desk.step(site.clock.now_s())

    assert site.store.orders.paused() is None
    assert [(one["id"], one["status"]) for one in (*site.tell(), *told)] == [
        ("older", "done"),
        ("newer", "done"),
    ]
