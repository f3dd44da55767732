"""What is remembered of the way to the server stands beside what else is remembered of it."""

import socket
from contextlib import closing, contextmanager
from typing import Any

import pytest

from edge_agent.base.activity import Activity
from edge_agent.base.settings import AgentSettings
from edge_agent.media.folders import Folders
from edge_agent.media.retry import retry_on_new_way
from edge_agent.net.resolver import SHARED
from edge_agent.net.stream import Backend
from edge_agent.net.way import Learned, Way
from edge_agent.send.wiring import make_link_watch, make_sender, make_transport, make_way
from edge_agent.store.recordings import Store
from tests.support.rim import StillClock

MIB = 1 << 20


@contextmanager
def sending(folder, **tables):
    """Yield a sender, who watches over its link, and its way to the server."""
    settings = AgentSettings(
        device_id="d", watch={"folder": folder}, server={"url": "http://127.0.0.1:1"}, **tables
    )
    clock = StillClock()
    with closing(Store.open(folder / "agent.db", clock=clock, boot_id="boot")) as store:
        way = make_way(settings, store, clock)
        link = make_link_watch(settings, clock, way)
        with make_transport(settings, clock, link, way=way) as client:
            folders = Folders(settings.watch)
            sender = make_sender(
                settings, store, client, Activity(), clock, folders=folders, link=link, way=way
            )
            yield sender, link, way
            sender.close()
            link.stop()


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
    with sending(tmp_path) as (sender, link, _):
        sender.pause(is_paused)

        assert link.others.is_wanted() is not is_paused


def test_what_holds_on_an_interface_holds_from_the_moment_it_is_used(tmp_path):
    modem = {"match": "modem", "max_rate": "1KB"}
    with sending(tmp_path, link=[modem]) as (sender, _, way):
        found = []
        for device in (None, "modem", None):
            way.use(device)
            sender.step(StillClock().now_s())
            used = sender.link_in_use
            found.append((used.interface, used.verdict.max_rate))

    assert found == [("lo", None), ("modem", 1000), ("lo", None)]


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


@pytest.mark.parametrize(("scheme", "is_able"), [("http", True), ("https", False)])
def test_to_a_proxy_over_tls_packets_are_not_said_to_be_made_smaller(tmp_path, scheme, is_able):
    server = {"url": "http://127.0.0.1:1", "proxy": f"{scheme}://127.0.0.1:2"}
    settings = AgentSettings(device_id="d", watch={"folder": tmp_path}, server=server)
    way = Way()

    make_transport(settings, StillClock(), way=way).close()

    assert way.lost_full_packets() is is_able
    assert (way.learned.max_segment is not None) is is_able


@pytest.mark.parametrize(("match", "used"), [("lo", b"cubic"), ("modem", b"reno")])
def test_a_connection_has_the_congestion_control_that_the_rule_for_its_link_says(
    tmp_path, match, used
):
    rule = {"match": match, "congestion_control": "cubic"}
    of_all = (socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")  # every kernel has it
    with sending(tmp_path, link=[rule]) as (_, _, way), socket.create_server(("", 0)) as listener:
        stream = Backend(SHARED, [of_all], way=way).connect_tcp(
            "127.0.0.1", listener.getsockname()[1]
        )
        live = stream.get_extra_info("socket")
        found = live.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")
        stream.close()

    assert found == used


def test_a_congestion_control_that_the_kernel_does_not_have_leaves_that_of_all_links():
    way = Way(interface=lambda: "lo")
    no_such: Any = "no-such"
    way.congestion_control = lambda _: no_such

    assert way.options() == ()
