"""What the owner's rules look at, seen from inside the unit's sandbox, on a machine booted by systemd."""

import json
import sysconfig
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.booted import booted
from tests.support.bus import Bus, wireless
from tests.support.debian_roots import debian_root
from tests.support.processes import wait_for
from tests.support.requirements import missing
from tests.system.test_check_on_systemd import CHECK, install

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(600)]

CONFIG = "/etc/edge-uploader/agent.toml"
POLICY = Path("/usr/share/dbus-1/system.d/org.freedesktop.NetworkManager.conf")
STATUS = "/opt/edge-uploader/bin/edge-agent status --json"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    root = debian_root()
    if sysconfig.get_python_version() != "3.11":
        pytest.skip("the libraries of this Python are not those of Debian 12's")
    with booted(root, tmp_path_factory.mktemp("booted") / "work", "ruled") as one:
        install(one)
        yield one


@pytest.fixture
def rules(machine):
    """Add rules to the configuration, until the test is over."""
    config = machine.files / CONFIG.lstrip("/")
    before = config.read_text()

    def add(text):
        config.write_text(f"{before}{text}")
        machine.run("systemctl restart edge-agent")

    yield add
    config.write_text(before)


def state(machine):
    said = json.loads(machine.run(STATUS))
    return said.get("state", said)


def wait_until(machine, what, condition):
    wait_for(lambda: condition(state(machine)), what, 40, every_s=0.5)
    return state(machine)


def make_recording(machine, name):
    machine.run(
        f"head -c 1000 /dev/urandom > /srv/media/{name} && chgrp edge-agent /srv/media/{name}"
    )


def test_a_hold_file_holds_and_the_process_that_it_names_is_known_to_be_there_or_gone(
    machine, rules
):
    machine.run("mkdir -p /run/robot && (sleep 600 > /dev/null 2>&1 & echo $! > /run/robot/armed)")
    rules('[upload]\nhold_file = "/run/robot/armed"\n')
    make_recording(machine, "held.mp4")
    held = wait_until(machine, "it is held", lambda one: one["blocked_by"] == "hold")
    machine.run("kill $(cat /run/robot/armed)")
    stale = wait_until(machine, "its maker is gone", lambda one: one["notes"])
    machine.run("rm /run/robot/armed")
    wait_until(machine, "it is sent", lambda one: one["queue"]["files"] == 0)

    assert "the hold file /run/robot/armed holds everything" in held["blocked_detail"]
    assert held["notes"] == []
    assert "may have been left behind" in stale["notes"][0]


def test_the_power_supplies_are_read(machine, rules):
    machine.run(
        "mount -t tmpfs tmpfs /sys/class/power_supply && cd /sys/class/power_supply && mkdir AC BAT0"
        " && echo Mains > AC/type && echo 0 > AC/online && echo Battery > BAT0/type"
        " && echo Discharging > BAT0/status && echo 40 > BAT0/capacity && echo 1 > BAT0/present"
    )
    try:
        rules("[power]\nmains_only = true\n")
        make_recording(machine, "powered.mp4")
        held = wait_until(machine, "it is held", lambda one: one["blocked_by"] == "power")
        machine.run("echo 1 > /sys/class/power_supply/AC/online")
        wait_until(machine, "it is sent", lambda one: one["queue"]["files"] == 0)
    finally:
        machine.run("systemctl stop edge-agent; umount -l /sys/class/power_supply")

    assert held["notes"] == []


@pytest.fixture
def manager(machine, tmp_path):
    """NetworkManager as dbusmock plays it, on the machine's own bus, with the policy that comes with it."""
    if not POLICY.exists():
        missing("NetworkManager is not installed, and so its policy for the bus")
    (machine.files / POLICY.relative_to("/")).write_bytes(POLICY.read_bytes())
    machine.run("systemctl start dbus && systemctl reload dbus")
    with closing(Bus(tmp_path / "bus", machine.seen / "run/dbus/system_bus_socket")) as its:
        yield its.mocked()


def test_network_manager_is_asked_from_inside_the_sandbox(machine, rules, manager):
    for path, interfaces in wireless("lo", b"Phone", metered=1).items():
        manager.put(path, **interfaces)
    rules('[[link]]\nmatch = "lo"\nmetered = "auto"\n')
    make_recording(machine, "metered.mp4")
    held = wait_until(machine, "it is held", lambda one: one["blocked_by"] == "metered")
    manager.say("/org/freedesktop/NetworkManager/Devices/lo", "Device", Metered=("u", 2))
    wait_until(machine, "it is sent", lambda one: one["queue"]["files"] == 0)

    assert held["blocked_detail"].startswith("the link lo is metered, NetworkManager says")
    assert held["notes"] == []


def test_a_hold_file_where_the_unit_has_a_folder_of_its_own_is_said_to_hold_nothing(machine, rules):
    rules('[upload]\nhold_file = "/tmp/armed"\n')
    machine.run("touch /tmp/armed")
    make_recording(machine, "not-held.mp4")

    said = wait_until(machine, "it is said", lambda one: one["notes"])
    checked = machine.ask(CHECK)
    machine.run("rm /tmp/armed")

    why = "the unit gives the agent a /tmp of its own (PrivateTmp=): use a file below /run"
    assert f"the hold file /tmp/armed cannot be looked at ({why})" in said["notes"][0]
    assert f"the hold file /tmp/armed cannot be looked at ({why})" in checked
