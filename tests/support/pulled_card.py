"""A card in a reader that can be pulled out, and that has bad places: the kernel's own simulated disk.

Its driver is ``scsi_debug``; what was written stays while the card is out.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.file_systems import MAKERS
from tests.support.processes import wait_for
from tests.support.requirements import require, require_root

_DRIVER = Path("/sys/bus/pseudo/drivers/scsi_debug")
_SECTOR = 512
_SIZE_MB = 96


class PulledCard:
    """In its reader and mounted at `mount`; use `pulled_card`."""

    def __init__(self, kind: str, mount: Path) -> None:
        self.mount = mount
        self._kind = kind
        mount.mkdir(parents=True, exist_ok=True)
        maker, *options = MAKERS[kind][0]
        _run(require(maker), *options, self._device())
        self.put_in()

    def pull_out(self) -> None:
        """Take the device away from under the file system: nobody has unmounted it before."""
        name = self._device().name
        Path(f"/sys/block/{name}/device/delete").write_text("1")
        _run("umount", "--lazy", self.mount)

    def put_in(self, *options: str) -> None:
        """Mount it, as a desktop or a udev rule does when it is there again."""
        for host in Path("/sys/class/scsi_host").glob("host*"):
            if (host / "proc_name").read_text().strip() == "scsi_debug":
                (host / "scan").write_text("- - -")
        wait_for(self._is_there, "the disk is there")
        how = ["-o", ",".join(options)] if options else []
        _run("mount", "-t", self._kind, *how, self._device(), self.mount)

    def take_out(self) -> None:
        """Unmount it, as a careful person does."""
        _run("umount", self.mount)

    def be_bad_at(self, path: Path, offset: int) -> None:
        """Let ten sectors of *path*, from *offset* on, be a medium error."""
        with self._device().open("rb") as disk, path.open("rb") as file:
            file.seek(offset)
            wanted, place, before = file.read(_SECTOR * 8), 0, b""
            while piece := disk.read(1 << 20):
                at = (before + piece).find(wanted)
                if at >= 0:
                    place = disk.tell() - len(before + piece) + at
                    break
                before = piece[-len(wanted) :]
        assert place, "it is not on the card"
        self._set("medium_error_start", place // _SECTOR)
        self._set("medium_error_count", 10)
        self._set("opts", 2)
        forget_cached()

    def heal(self) -> None:
        self._set("opts", 0)
        forget_cached()

    def _is_there(self) -> bool:
        return self._found() is not None

    def _device(self) -> Path:
        found = self._found()
        assert found is not None, "the card is out"
        return found

    @staticmethod
    def _found() -> Path | None:
        for block in Path("/sys/block").glob("sd*"):
            if (block / "device/model").read_text().strip() == "scsi_debug":
                return Path("/dev", block.name)
        return None

    @staticmethod
    def _set(name: str, value: int) -> None:
        place = _DRIVER / name
        if not place.exists():
            place = Path("/sys/module/scsi_debug/parameters") / name
        place.write_text(str(value))


def forget_cached() -> None:
    """Have all be read from its disk again, and FAT number its files anew."""
    _run("sync")
    Path("/proc/sys/vm/drop_caches").write_text("3")


@contextmanager
def pulled_card(kind: str, mount: Path) -> Iterator[PulledCard]:
    """Mount an empty card with the file system *kind* at *mount*."""
    require_root()
    arguments = [f"dev_size_mb={_SIZE_MB}", "delay=0"]
    done = subprocess.run(
        ["modprobe", "scsi_debug", *arguments], capture_output=True, timeout=60, check=False
    )
    if done.returncode:
        pytest.skip("this kernel has no scsi_debug")
    try:
        wait_for(PulledCard._found, "the disk is there")
        one = PulledCard(kind, mount)
        try:
            yield one
        finally:
            one.heal()
            subprocess.run(["umount", "--lazy", mount], check=False, timeout=30)
    finally:
        subprocess.run(["modprobe", "--remove", "scsi_debug"], check=False, timeout=60)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
