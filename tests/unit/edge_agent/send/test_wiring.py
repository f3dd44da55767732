"""What is remembered of the way to the server stands beside what else is remembered of it."""

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.settings import AgentSettings
from edge_agent.media.retry import retry_on_new_way
from edge_agent.net.way import Learned
from edge_agent.send.wiring import make_link_watch, make_sender, make_transport, make_way
from edge_agent.store.recordings import Store
from tests.support.rim import StillClock

MIB = 1 << 20


def test_limits_of_the_way_are_remembered_for_the_url_and_beside_the_login(tmp_path):
    def settings(port):
        server = {"url": f"http://127.0.0.1:{port}"}
        return AgentSettings(device_id="d", watch={"folder": tmp_path}, server=server)

    clock = StillClock()
    store = Store.open(tmp_path / "agent.db", clock=clock, boot_id="boot")
    retry_on_new_way(store, "login")
    make_way(settings(1), store, clock).refused(413, 2 * MIB)
    retry_on_new_way(store, "login")

    assert make_way(settings(1), store, clock).learned == Learned(max_request=MIB)
    assert make_way(settings(2), store, clock).learned == Learned()
    store.close()


@pytest.mark.parametrize("is_paused", [True, False])
def test_other_interfaces_are_asked_over_only_while_something_may_be_sent(tmp_path, is_paused):
    settings = AgentSettings(
        device_id="d", watch={"folder": tmp_path}, server={"url": "http://127.0.0.1:1"}
    )
    clock = StillClock()
    store = Store.open(tmp_path / "agent.db", clock=clock, boot_id="boot")
    way = make_way(settings, store, clock)
    link = make_link_watch(settings, clock, way)
    client = make_transport(settings, clock, link, way=way)
    sender = make_sender(settings, store, client, Activity(), clock, link=link, way=way)
    sender.pause(is_paused)

    assert link.others.is_wanted() is not is_paused
    link.stop()
    client.close()
    store.close()


def test_limits_of_the_way_are_found_out_anew_after_a_day_of_running_in_several_runs(tmp_path):
    settings = AgentSettings(
        device_id="d", watch={"folder": tmp_path}, server={"url": "http://127.0.0.1:1"}
    )
    learned = []
    for boot in range(4):
        clock = StillClock()
        store = Store.open(tmp_path / "agent.db", clock=clock, boot_id=f"boot {boot}")
        way = make_way(settings, store, clock)
        if boot == 0:
            way.refused(413, 2 * MIB)
        learned.append(way.learned)
        clock.now += 10 * 3600.0
        store.running.keep()
        store.close()

    assert learned == [Learned(max_request=MIB)] * 3 + [Learned()]
