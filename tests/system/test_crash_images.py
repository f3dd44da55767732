"""The power of the server's disk is cut at random instants (laws L1 and L3).

Several clients upload, break off, overwrite, abort, complete and tell of groups, while the disk is cloned at instants
that nobody waits for. On each clone a server starts, and every range, abort, receipt and group that had been
acknowledged before that instant is compared with what the clients had sent. Who watches ``published/`` while it
starts is told of each file there that the cut may have kept from being announced.
"""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Self

import pytest

from demo.ports import free_port
from tests.support.crash_check import SETTINGS, losses
from tests.support.crash_client import HOST
from tests.support.crash_load import Ledger, Sender
from tests.support.crashimage import CrashDisk
from tests.support.processes import wait_for

SEED = 20261121
CLIENTS = 4
INSTANTS_ON_A_DISK = 25

INSTANTS = int(os.environ.get("CRASH_INSTANTS", "24"))
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(max(600, 6 * INSTANTS))]

Volume = Callable[[Path], AbstractContextManager[None]]
"""What is mounted, below a disk's root, while a server works there."""

SABOTAGE = os.environ.get("CRASH_SABOTAGE", "none")
"""A promise to break on purpose: `crash_server` has them. The test must fail then."""


class Loaded:
    """The server as a process on a disk, and clients that do not stop."""

    def __init__(self, disk: CrashDisk, seed: int) -> None:
        self.ledger = Ledger()
        self._port = free_port()
        self._log = (disk.live.parent / "server.log").open("wb")
        runner = [sys.executable, "-m", "tests.support.crash_server", SABOTAGE]
        listen = ["--listen", f"{HOST}:{self._port}", "--data-dir", str(disk.live / "data")]
        self._process = subprocess.Popen(
            [*runner, "run", *listen],
            env={**os.environ, **SETTINGS},
            stderr=self._log,
            cwd=Path(__file__).parents[2],
        )
        self._senders = [Sender(self._port, n, seed, self.ledger) for n in range(CLIENTS)]

    def __enter__(self) -> Self:
        try:
            wait_for(self._listens, "the server listens")
            for sender in self._senders:
                sender.start()
            wait_for(lambda: len(self.ledger) > 100, "the clients are at work")
        except BaseException:
            self._kill()
            raise
        return self

    def _kill(self) -> None:
        for sender in self._senders:
            sender.stop()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self._port)) == 0

    def __exit__(self, *_: object) -> None:
        self._kill()
        for sender in self._senders:
            sender.join()


@contextmanager
def _mounted_beside(root: Path) -> Iterator[None]:
    """Let published/ be another mount of the same disk: no link leads there, and one cut takes both."""
    (root / "nas").mkdir(exist_ok=True)
    (root / "data" / "published").mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "--bind", root / "nas", root / "data" / "published"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", root / "data" / "published"], check=True)


def _bad_instants(
    folder: Path, kind: str, seed: int, instants: int, volume: Volume
) -> list[list[str]]:
    """Return what was lost, for each instant on one disk."""
    draw = random.Random(seed)
    found = []
    with CrashDisk(folder, kind=kind) as disk:
        cuts = []
        with volume(disk.live), Loaded(disk, seed) as loaded:
            for _ in range(instants):
                time.sleep(draw.uniform(0.02, 0.4))  # the instant is the test
                acknowledged = len(loaded.ledger)  # before the cut, never after it
                cuts.append((acknowledged, disk.cut()))
        for acknowledged, image in cuts:
            with disk.rebooted(image) as root, volume(root):
                found.append(losses(root / "data", loaded.ledger.until(acknowledged)))
    return found


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_L1_L3_nothing_acknowledged_is_lost_in_a_power_cut(tmp_path, kind):
    assert_nothing_is_lost(tmp_path, kind, lambda _: nullcontext())


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_L1_L3_nor_where_published_files_are_copied_to_another_volume(tmp_path, kind):
    assert_nothing_is_lost(tmp_path, kind, _mounted_beside)


def assert_nothing_is_lost(tmp_path: Path, kind: str, volume: Volume) -> None:
    found: list[list[str]] = []
    while len(found) < INSTANTS:
        number = min(INSTANTS_ON_A_DISK, INSTANTS - len(found))
        found += _bad_instants(
            tmp_path / f"disk-{len(found)}", kind, SEED + len(found), number, volume
        )

    bad = [lost for lost in found if lost]
    print(f"{len(found)} cuts, {len(bad)} of them lost something")
    assert not bad, "\n".join(f"cut {n}: {lost[:3]}" for n, lost in enumerate(found) if lost)[:4000]
