"""A system bus of a test's own, with a NetworkManager on it: one that says what the test wants, or the real one."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.processes import wait_for
from tests.support.requirements import missing, require, require_root

MANAGER, MODEMS = "org.freedesktop.NetworkManager", "org.freedesktop.ModemManager1"
_ROOTS = {MANAGER: "/org/freedesktop", MODEMS: "/org/freedesktop/ModemManager1"}
_MOCK = "org.freedesktop.DBus.Mock"
_POLICY = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>
"""
_PYTHON = "/usr/bin/python3"
"""Debian's, for which its dbusmock is."""


class Bus:
    """Programs find it by `environment`."""

    def __init__(self, folder: Path, socket: Path | None = None) -> None:
        """Have one of its own in *folder*, which `start` starts, or use the one that listens at *socket*."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._socket = socket or folder / "bus"
        self.environment = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self._socket}"}
        self._children = contextlib.ExitStack()

    def start(self) -> None:
        policy = self._folder / "bus.conf"
        policy.write_text(_POLICY.format(socket=self._socket))
        daemon, _ = require("dbus-daemon"), require("busctl")
        self.run([daemon, f"--config-file={policy}", "--nofork", "--nopidfile"])
        wait_for(self._socket.exists, "the bus is there")

    def run(self, command: list[Any], **more: Any) -> subprocess.Popen[str]:
        """Start a program that ends with the bus."""
        log = self._children.enter_context((self._folder / "bus.log").open("ab"))
        child = subprocess.Popen(
            command, env={**os.environ, **self.environment}, stdout=log, stderr=log, **more
        )
        self._children.callback(_end, child)
        return child

    def mocked(self, service: str = MANAGER) -> "Mocked":
        """Return a service that says what it is told."""
        has_mock = subprocess.run(
            [_PYTHON, "-c", "import dbusmock"], capture_output=True, check=False
        )
        if has_mock.returncode:
            missing("python3-dbusmock is not installed")
        command = [_PYTHON, "-m", "dbusmock", "--system", "-m", service, _ROOTS[service], _MOCK]
        child = self.run(command)
        wait_for(lambda: self.answers(service), f"{service} is there")
        return Mocked(self, service, child)

    def answers(self, service: str) -> bool:
        bus = "org.freedesktop.DBus"
        done = self.ask(["busctl", "--system", "call", bus, "/", bus, "NameHasOwner", "s", service])
        return done.stdout == "b true\n"

    def ask(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=20, check=False
        )

    def close(self) -> None:
        self._children.close()


class Mocked:
    """NetworkManager or ModemManager, as python-dbusmock plays them."""

    def __init__(self, bus: Bus, service: str, child: subprocess.Popen[str]) -> None:
        self._bus, self._service, self._child = bus, service, child

    def put(self, path: str, **interfaces: dict[str, tuple[str, Any]]) -> None:
        """Let there be an object with these properties, each with its type; ``__`` in names is a dot."""
        named = {
            f"{self._service}.{key.replace('__', '.')}": one for key, one in interfaces.items()
        }
        first, *others = named
        self._call(
            _ROOTS[self._service], "AddObject", "ssa{sv}a(ssss)", path, first, named[first], 0
        )
        for one in others:
            self._call(path, "AddProperties", "sa{sv}", one, named[one])

    def say(self, path: str, interface: str, **properties: tuple[str, Any]) -> None:
        """Let an object that is there have other properties."""
        name = f"{self._service}.{interface}"
        self._call(path, "UpdateProperties", "sa{sv}", name, properties)

    def hang(self) -> None:
        self._child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def end(self) -> None:
        _end(self._child)

    def _call(self, path: str, method: str, signature: str, *arguments: Any) -> None:
        words = [word for one in arguments for word in _words(one)]
        command = ["busctl", "--system", "call", self._service, path, _MOCK, method, signature]
        done = self._bus.ask([*command, "--", *words])
        assert done.returncode == 0, f"{done.stderr}\n{words}"


def _words(value: Any) -> list[str]:
    """Return *value* as busctl wants it."""
    if not isinstance(value, dict):
        return [str(value)]
    words = [str(len(value))]
    for key, (kind, one) in value.items():
        words += [key, kind]
        words += [str(len(one)), *map(str, one)] if kind == "ay" else [str(one)]
    return words


def wireless(name: str, ssid: bytes, *, metered: int = 0) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what NetworkManager has of an interface in a wireless network, by path."""
    point = f"/org/freedesktop/NetworkManager/AccessPoint/{name}"
    return {
        f"/org/freedesktop/NetworkManager/Devices/{name}": {
            "Device": {"Interface": ("s", name), "IpInterface": ("s", name)}
            | {"DeviceType": ("u", 2), "Metered": ("u", metered)},
            "Device__Wireless": {"ActiveAccessPoint": ("o", point)},
        },
        point: {"AccessPoint": {"Ssid": ("ay", list(ssid))}},
    }


def modem(name: str, path: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what NetworkManager has of a modem, by path; *path* is ModemManager's."""
    return {
        f"/org/freedesktop/NetworkManager/Devices/{name}": {
            "Device": {"Interface": ("s", "cdc-wdm0"), "IpInterface": ("s", name)}
            | {"DeviceType": ("u", 8), "Metered": ("u", 3), "Udi": ("s", path)},
        },
    }


@contextlib.contextmanager
def bus(folder: Path) -> Iterator[Bus]:
    made = Bus(folder)
    try:
        made.start()
        yield made
    finally:
        made.close()


_CONFIGURATION = "[main]\nplugins=keyfile\ndns=none\nrc-manager=unmanaged\n"
_ALONE = """set -e
mount -o remount,bind,ro /sys
for one in /run/NetworkManager /var/lib/NetworkManager /etc/NetworkManager; do
  mkdir -p $one && mount -t tmpfs tmpfs $one
done
exec "$0" --no-daemon --config "$1" --pid-file "$2"
"""


def network_manager(of: Bus, folder: Path, space: str) -> subprocess.Popen[str]:
    """Start the real one on the bus *of*, for the interfaces of the network namespace *space* alone."""
    require_root()
    program = require("NetworkManager")
    require("nmcli")
    configuration = folder / "NetworkManager.conf"
    configuration.write_text(_CONFIGURATION)
    command = ["ip", "netns", "exec", space, "sh", "-c", _ALONE, program, configuration]
    child = of.run([*command, folder / "NetworkManager.pid"])
    wait_for(lambda: of.answers(MANAGER), "NetworkManager is there")
    return child


def nmcli(of: Bus, *words: str) -> str:
    done = of.ask(["nmcli", *words])
    assert done.returncode == 0, done.stderr
    return done.stdout


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGCONT)
        child.kill()
    child.wait(10)
