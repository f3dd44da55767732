"""Rules for links that go by what NetworkManager says: true, silent, hanging, and the real one."""

import os
import signal

import pytest

from tests.support.bus import MODEMS, bus, modem, network_manager, nmcli, wireless
from tests.support.namespaces import wire
from tests.support.processes import wait_for
from tests.support.recordings import make_recording
from tests.support.site import site
from tests.system.test_faults_of_the_link import apart

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

DEVICE = "/org/freedesktop/NetworkManager/Devices/lo"
POINT = "/org/freedesktop/NetworkManager/AccessPoint/lo"
MODEM = "/org/freedesktop/ModemManager1/Modem/0"
AUTO = [{"match": "lo", "metered": "auto"}]
AT_HANGAR = [{"match": "lo", "ssid": "Hangar*"}, {"match": "lo", "metered": True}]


@pytest.fixture
def a_bus(tmp_path, monkeypatch):
    with bus(tmp_path / "bus") as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made


def notes(agent):
    return agent.state_if_any().get("notes")


def told(manager, objects):
    for path, interfaces in objects.items():
        manager.put(path, **interfaces)


@pytest.mark.nightly
def test_a_network_of_another_name_is_not_used_until_the_device_is_in_the_named_one(
    tmp_path, a_bus
):
    manager = a_bus.mocked()
    told(manager, wireless("lo", b"Cafe \xff*"))
    with site(tmp_path, link=AT_HANGAR) as here:
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        here.agent.start()
        state = here.agent.wait_until_blocked_by("metered")
        before = here.server.published_files()
        manager.say(POINT, "AccessPoint", Ssid=("ay", list(b"Hangar 3")))
        here.wait_until_published(1)

    assert state["blocked_detail"] == "the link lo is metered; another one is waited for"
    assert (state["notes"], state["problems"].count("rule_unknown")) == ([], 0)
    assert before == []


@pytest.mark.nightly
def test_a_link_is_metered_as_long_as_it_says_so_and_status_says_who_does(tmp_path, a_bus):
    manager = a_bus.mocked()
    told(manager, wireless("lo", b"Phone", metered=3))
    with site(tmp_path, link=AUTO) as here:
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        here.agent.start()
        state = here.agent.wait_until_blocked_by("metered")
        page = here.agent.run("status")
        manager.say(DEVICE, "Device", Metered=("u", 4))
        here.wait_until_published(1)

    sentence = "the link lo is metered, NetworkManager says; another one is waited for"
    assert state["blocked_detail"] == sentence
    assert sentence in " ".join(page.split())
    assert state["link"]["metered"] is True


@pytest.mark.nightly
def test_a_modem_that_roams_is_left_alone_until_it_is_home(tmp_path, a_bus):
    told(a_bus.mocked(), modem("lo", MODEM))
    modems = a_bus.mocked(MODEMS)
    modems.put(MODEM, Modem__Modem3gpp={"RegistrationState": ("u", 5)})
    abroad = [{"match": "lo", "roaming": True, "metered": True}]
    with site(tmp_path, link=abroad) as here:
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        here.agent.start()
        state = here.agent.wait_until_blocked_by("metered")
        modems.say(MODEM, "Modem.Modem3gpp", RegistrationState=("u", 1))
        here.wait_until_published(1)

    assert state["blocked_detail"].startswith("the link lo, which roams, is metered")


@pytest.mark.parametrize("how", ["hangs", pytest.param("absent", marks=pytest.mark.nightly)])
def test_one_that_does_not_answer_holds_nothing_up_and_is_named(how, tmp_path, a_bus):
    if how == "hangs":
        a_bus.mocked().hang()
    with site(tmp_path, link=AUTO) as here:
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        here.agent.start()
        here.wait_until_published(1)
        [note] = wait_for(lambda: notes(here.agent), "it is told")
        state, page = here.agent.state(), here.agent.run("status")

    assert note.startswith('[[link]] match = "lo": it is not known whether lo is metered (')
    assert note.endswith("); until it is, it counts as not metered")
    assert "rule_unknown" in state["problems"]
    assert "note: [[link]] match" in page


@pytest.mark.nightly
def test_one_that_ends_and_comes_back_is_gone_by_again_and_a_reload_asks_no_more(tmp_path, a_bus):
    manager = a_bus.mocked()
    told(manager, wireless("lo", b"Phone", metered=1))
    with site(tmp_path, link=AUTO) as here:
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        here.agent.start()
        here.agent.wait_until_blocked_by("metered")
        manager.end()
        again = a_bus.mocked()
        told(again, wireless("lo", b"Phone", metered=1))
        make_recording(here.agent.media / "b.mp4", seconds=0.5)
        still = here.agent.wait_until_blocked_by("metered")
        here.agent.configure(link=[{"match": "lo"}])
        os.kill(here.agent.pid, signal.SIGHUP)
        here.wait_until_published(2)
        wait_for(lambda: notes(here.agent) == [], "nothing is left to say")

    assert still["queue"]["files"] >= 1


@pytest.mark.nightly
def test_the_real_one_says_by_its_connection_whether_a_link_is_metered(tmp_path, a_bus):
    with wire() as link, apart(tmp_path, link) as (server, agent):
        agent.configure(link=[{"match": "a", "metered": "auto"}])
        network_manager(a_bus, tmp_path, link.device)
        static = ("ipv4.method", "manual", "ipv4.addresses", "10.78.0.1/24")
        of_link = ("type", "ethernet", "ifname", "a", "con-name", "field", *static)
        nmcli(a_bus, "connection", "add", *of_link, "connection.metered", "yes")
        nmcli(a_bus, "connection", "up", "field")
        make_recording(agent.media / "a.mp4", seconds=0.5)
        agent.start()
        state = agent.wait_until_blocked_by("metered")
        nmcli(a_bus, "connection", "modify", "field", "connection.metered", "no")
        nmcli(a_bus, "connection", "up", "field")
        wait_for(server.published_files, "it is published", 60)

    assert state["blocked_detail"].startswith("the link a is metered, NetworkManager says")


def test_a_rule_holds_before_the_first_connection_to_a_server_that_has_a_name(tmp_path):
    with site(tmp_path, link=[{"match": "lo", "metered": True}]) as here:
        here.agent.configure(server={"url": f"http://localhost:{here.link.port}"})
        make_recording(here.agent.media / "a.mp4", seconds=0.5)
        here.agent.start()
        state = here.agent.wait_until_blocked_by("metered")

        assert state["link"]["iface"] == "lo"
        assert state["totals"]["bytes_sent"] == 0
        assert here.server.published_files() == []
