"""Two network namespaces and the link between them: a device and a server that are really apart."""

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator

from tests.support.requirements import require, require_root

SERVER_ADDRESS = "10.78.0.2"


class Wire:
    """The device's end is ``a`` in namespace `device`, the server's ``b`` in namespace `server`."""

    def __init__(self) -> None:
        tag = uuid.uuid4().hex[:6]
        self.device, self.server = f"ef-{tag}-a", f"ef-{tag}-b"
        self._switch = f"ef-{tag}-s"
        self._wire = f"ef{tag}"
        self._ends = (("a", self.device, "10.78.0.1"), ("b", self.server, SERVER_ADDRESS))

    def make(self) -> None:
        for space in (self.device, self.server):
            _ip("netns", "add", space)
            _ip("link", "set", "lo", "up", inside=space)
        self.plug_in()

    def plug_in(self) -> None:
        _ip("link", "add", f"{self._wire}a", "type", "veth", "peer", "name", f"{self._wire}b")
        for end, space, address in self._ends:
            _ip("link", "set", f"{self._wire}{end}", "netns", space)
            _ip("link", "set", f"{self._wire}{end}", "name", end, inside=space)
            _ip("addr", "add", f"{address}/24", "dev", end, inside=space)
            _ip("link", "set", "dev", end, "up", inside=space)

    def pull_out(self) -> None:
        """Take both ends away: nobody gets a FIN, and addresses and routes are gone."""
        _ip("link", "del", "dev", "a", inside=self.device)

    def down(self) -> None:
        _ip("link", "set", "dev", "a", "down", inside=self.device)

    def up(self) -> None:
        _ip("link", "set", "dev", "a", "up", inside=self.device)

    def slow(self, rate: str) -> None:
        """Let the device send no more than that (as tc writes it)."""
        shape = ("root", "tbf", "rate", rate, "burst", "32k", "latency", "50ms")
        command = ["ip", "netns", "exec", self.device, "tc", "qdisc", "replace", "dev", "a", *shape]
        subprocess.run(command, check=True, timeout=10, capture_output=True)

    def lead_astray(self) -> None:
        """Let the kernel's way from the device to the server be an interface that swallows everything."""
        _ip("link", "add", "dead", "type", "veth", "peer", "name", "end", inside=self.device)
        for end in ("dead", "end"):
            _ip("link", "set", "dev", end, "up", inside=self.device)
        _ip("addr", "add", "10.79.0.1/24", "dev", "dead", inside=self.device)
        _ip("route", "add", f"{SERVER_ADDRESS}/32", "dev", "dead", inside=self.device)

    def lead_to_ipv6_only(self) -> None:
        """Leave the device what a mobile network with IPv6 alone does."""
        _ip("addr", "flush", "dev", "a", inside=self.device)
        _ip("addr", "add", "2001:db8:78::1/64", "dev", "a", "nodad", inside=self.device)
        _ip(
            "-6", "route", "add", "default", "via", "2001:db8:78::2", "dev", "a", inside=self.device
        )

    def lead_right(self) -> None:
        _ip("link", "del", "dev", "dead", inside=self.device)

    def swallow_full_packets(self) -> None:
        """Put a switch between the two that loses packets above 1280 bytes, and says nothing of it."""
        self.pull_out()
        _ip("netns", "add", self._switch)
        _ip("link", "add", "both", "type", "bridge", inside=self._switch)
        _ip("link", "set", "dev", "both", "up", inside=self._switch)
        for end, space, address in self._ends:
            own, other = f"{self._wire}{end}", f"{self._wire}{end}s"
            _ip("link", "add", own, "type", "veth", "peer", "name", other)
            _ip("link", "set", own, "netns", space)
            _ip("link", "set", other, "netns", self._switch)
            _ip("link", "set", own, "name", end, "gso_max_segs", "1", inside=space)
            _ip("link", "set", other, "master", "both", "up", inside=self._switch)
            _ip("addr", "add", f"{address}/24", "dev", end, inside=space)
            _ip("link", "set", "dev", end, "up", inside=space)
        _ip("link", "set", "dev", "b", "mtu", "1280", inside=self.server)  # what is longer is lost
        route = ("10.78.0.0/24", "dev", "b", "src", SERVER_ADDRESS, "advmss", "1460")
        _ip("route", "replace", *route, inside=self.server)

    def carried(self) -> int:
        """Return the bytes that left the device over the link since it was plugged in."""
        command = ["ip", "-n", self.device, "-json", "-stats", "link", "show", "dev", "a"]
        done = subprocess.run(command, check=False, timeout=10, capture_output=True)
        found = json.loads(done.stdout or b"[]")
        return found[0]["stats64"]["tx"]["bytes"] if found else 0

    def unmake(self) -> None:
        for space in (self.device, self.server, self._switch):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", space)

    @staticmethod
    def inside(space: str, command: list[object]) -> list[object]:
        return ["ip", "netns", "exec", space, *command]


@contextlib.contextmanager
def wire() -> Iterator[Wire]:
    require_root()
    require("ip")
    one = Wire()
    try:
        one.make()
        yield one
    finally:
        one.unmake()


def _ip(*words: str, inside: str | None = None) -> None:
    prefix = [] if inside is None else ["-n", inside]
    subprocess.run(["ip", *prefix, *words], check=True, timeout=10, capture_output=True)
