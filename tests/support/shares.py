"""Folders of another computer, mounted by NFS and SMB: a real server of each, in a network of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.requirements import require, require_root

_FILER, _ADDRESS = "edge-filer", "10.77.0.1"
_SMB = """[global]
map to guest = bad user
guest account = root
server min protocol = SMB3
interfaces = {address}
bind interfaces only = yes
disable netbios = yes
load printers = no
log level = 0
{folders}
[card]
path = {below}
guest ok = yes
read only = no
force user = root
"""


@dataclass(frozen=True)
class Share:
    mount: Path
    """As the device sees it."""
    below: Path
    """As its server, or another of its clients, does."""


@contextmanager
def share(kind: str, base: Path) -> Iterator[Share]:
    """Mount a folder of another computer at ``base/media``, by *kind*: "NFS" or "SMB"."""
    require_root()
    module = {"NFS": "nfs4", "SMB": "cifs"}[kind]
    if f"\t{module}\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        pytest.skip(f"this kernel has no {module}")
    one = Share(base / "media", base / "below")
    for folder in (one.mount, one.below):
        folder.mkdir(parents=True)
    with ExitStack() as stack:
        stack.enter_context(_another_computer())
        stack.enter_context(_nfs(one) if kind == "NFS" else _smb(one, base / "samba"))
        yield one


@contextmanager
def _another_computer() -> Iterator[None]:
    """A network namespace with an address of its own, and this one's way to it."""
    link = ["ip", "link", "add", "edge-near", "type", "veth", "peer", "name", "edge-far"]
    inside = ["ip", "-n", _FILER]
    _run("ip", "netns", "add", _FILER)
    try:
        _run(*link, "netns", _FILER)
        _run("ip", "addr", "add", "10.77.0.2/24", "dev", "edge-near")
        _run("ip", "link", "set", "edge-near", "up")
        _run(*inside, "addr", "add", f"{_ADDRESS}/24", "dev", "edge-far")
        for device in ("lo", "edge-far"):
            _run(*inside, "link", "set", device, "up")
        yield
    finally:
        _run("ip", "netns", "delete", _FILER)


@contextmanager
def _nfs(one: Share) -> Iterator[None]:
    for program in ("rpc.nfsd", "rpc.mountd", "exportfs", "mount.nfs"):
        require(program)
    _run("mount", "-t", "tmpfs", "tmpfs", one.below)
    # So long clients may take up what they had open before the server started.
    grace = ["-G", "10", "-L", "10"]
    inside = ["nsenter", f"--net=/run/netns/{_FILER}"]
    try:
        for place, kind in (("/proc/fs/nfsd", "nfsd"), ("/var/lib/nfs", "tmpfs")):
            _run(*inside, "mount", "-t", kind, kind, place)  # a network has an nfsd of its own
        for name in ("etab", "rmtab"):
            Path("/var/lib/nfs", name).touch()
        Path("/var/lib/nfs/v4recovery").mkdir()
        to_all = "rw,fsid=0,no_root_squash,no_subtree_check,sync"
        _run(*inside, "exportfs", "-o", to_all, f"*:{one.below}")
        with _running(*inside, "rpc.mountd", "--foreground", "--no-nfs-version", "3"):
            _run(*inside, "rpc.nfsd", "--no-nfs-version", "3", "--no-udp", *grace, "2")
            try:
                # Attributes are asked for each time: what another machine writes is seen at once.
                options = "vers=4.2,actimeo=0,soft,timeo=50"
                _run("mount", "-t", "nfs4", "-o", options, f"{_ADDRESS}:/", one.mount)
                try:
                    # No file is opened before it is over.
                    (one.mount / ".opened").touch()
                    (one.mount / ".opened").unlink()
                    yield
                finally:
                    _run("umount", "--lazy", one.mount)
            finally:
                _run(*inside, "rpc.nfsd", "0")
                _run(*inside, "exportfs", "-ua")
    finally:
        for place in ("/var/lib/nfs", "/proc/fs/nfsd", str(one.below)):
            with suppress(subprocess.CalledProcessError):
                _run("umount", "--lazy", place)


@contextmanager
def _smb(one: Share, own: Path) -> Iterator[None]:
    for program in ("smbd", "mount.cifs"):
        require(program)
    own.mkdir()
    _run("mount", "-t", "tmpfs", "tmpfs", one.below)
    kinds = ("private dir", "lock directory", "state directory", "cache directory", "pid directory")
    folders = "\n".join(f"{kind} = {own}" for kind in (*kinds, "ncalrpc dir"))
    (own / "smb.conf").write_text(_SMB.format(address=_ADDRESS, folders=folders, below=one.below))
    inside = ["nsenter", f"--net=/run/netns/{_FILER}"]
    serve = ["smbd", "--foreground", "--no-process-group", f"--configfile={own}/smb.conf"]

    def is_mounted() -> bool:
        # No file is kept open for a second after it was closed, in which what it was is believed.
        options = "guest,vers=3.1.1,actimeo=0,closetimeo=0"
        with suppress(subprocess.CalledProcessError):
            _run("mount", "-t", "cifs", "-o", options, f"//{_ADDRESS}/card", one.mount)
            return True
        return False

    try:
        with _running(*inside, *serve, f"--log-basename={own}"):
            wait_for(is_mounted, "the share is mounted", 120, every_s=1.0)
            try:
                yield
            finally:
                _run("umount", "--lazy", one.mount)
    finally:
        _run("umount", "--lazy", one.below)


@contextmanager
def _running(*command: str) -> Iterator[None]:
    # Of a session of its own: Samba ends its whole process group with itself.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as program:
        try:
            yield
        finally:
            program.send_signal(signal.SIGTERM)
            try:
                program.wait(20)
            except subprocess.TimeoutExpired:
                program.kill()


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
