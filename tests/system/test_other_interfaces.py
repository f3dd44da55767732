"""The kernel's way to the server is dead and another interface works: it is used, or people are told."""

import subprocess

import pytest

from tests.support.namespaces import SERVER_ADDRESS, wire
from tests.support.processes import wait_for
from tests.support.recordings import make_recording
from tests.system.test_faults_of_the_link import apart

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def check(link, agent):
    command = link.inside(link.device, [*agent.program, "check", "--config", agent.config])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def other_link(agent):
    return agent.state_if_any().get("link", {}).get("other")


def test_an_interface_that_works_carries_what_the_dead_one_does_not(tmp_path):
    with wire() as link, apart(tmp_path, link) as (server, agent):
        link.lead_astray()
        make_recording(agent.media / "a.mp4", seconds=0.5)
        agent.start()
        wait_for(server.published_files, "it is published", 60)
        state, page, checked = agent.state(), agent.run("status"), check(link, agent)
        used = [line for line in agent.log() if line["event"] == "link.other_used"]

    assert state["link"]["iface"] == "a"
    assert "other links: a is used, for nothing answers over dead" in page
    assert "the server answers over a, though not over dead; the agent uses it" in checked
    assert [(one["interface"], one["instead_of"]) for one in used] == [("a", "dead")]


def test_a_metered_one_is_named_and_not_used_and_the_kernels_own_is_taken_up_again(tmp_path):
    metered = '[[link]]\nmatch = "a"\nmetered = true\n'
    with wire() as link, apart(tmp_path, link) as (server, agent):
        agent.config.write_text(f"{agent.config.read_text()}\n{metered}")
        link.lead_astray()
        make_recording(agent.media / "a.mp4", seconds=0.5)
        agent.start()
        told = wait_for(lambda: other_link(agent), "it is told", 60)
        published, checked = server.published_files(), check(link, agent)
        agent.config.write_text(agent.config.read_text().replace(metered, ""))
        agent.stop()
        link.lead_right()
        agent.start()
        wait_for(server.published_files, "it is published", 60)

    assert told.startswith("the server answers over a, which is not used: [[link]] match")
    assert told.endswith('a [[link]] rule with match = "a" would use it')
    assert published == []
    assert "the server answers over a, though not over dead; it is not used" in checked


def test_an_ipv4_address_on_a_network_with_ipv6_alone_is_called_that(tmp_path):
    mqtt = {"url": f"mqtt://{SERVER_ADDRESS}"}
    with wire() as link, apart(tmp_path, link, mqtt=mqtt) as (_, agent):
        link.lead_to_ipv6_only()
        make_recording(agent.media / "a.mp4", seconds=0.5)
        agent.start()
        state = wait_for(lambda: waits_for(agent, "IPv6"), "it is told", 60)
        page, checked = agent.run("status"), check(link, agent)

    sentence = "this network leads to IPv6 only, and 10.78.0.2 is an address of IPv4: put a name in its place"
    assert state["blocked_by"] == "link"
    assert sentence in " ".join(page.split())
    told = [line for line in checked.splitlines() if sentence in line]
    assert [line.split(":")[0] for line in told] == ["FAIL  server", "WARN  link", "FAIL  broker"]


def waits_for(agent, word):
    state = agent.state_if_any()
    return state if word in (state.get("blocked_detail") or "") else None
