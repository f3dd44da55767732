"""A machine with Debian's own kernel, for what the kernel of this one lacks: its file systems, its devices.

It has this machine's files, below a layer in memory that is thrown away, and no network but its own.
What it is asked to run is a command like any other; it is switched off when that ends.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.requirements import missing, require, require_root

_KEPT = Path(os.environ.get("EDGE_UPLOADER_KERNELS", "/var/cache/edge-uploader/kernels"))
_FOR_THE_ROOT = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
_MEMORY = "3G"
_ACCELERATOR = os.environ.get("EDGE_UPLOADER_ACCELERATOR", "tcg")
"""KVM may be there and hang at the first instruction, in a machine that is itself a guest."""
_OUT = "/run/out"
"""Where the machine finds what it is to do, and writes what came of it."""

_INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev
for one in {" ".join(_FOR_THE_ROOT)}; do modprobe $one; done
share() {{ mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=$3,$4 $1 $2; }}
share files /lower loose ro
mount -t tmpfs -o size=80% tmpfs /layer && mkdir /layer/upper /layer/work
mount -t overlay overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work /root
mount -t tmpfs tmpfs /root/run && mkdir /root{_OUT} && share out /root{_OUT} none rw
mkdir -p /root/lib/modules && share modules /root/lib/modules loose ro
for one in proc sys dev; do mount --move /$one /root/$one; done
exec switch_root /root /bin/sh {_OUT}/run
"""
_RUN = """
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mkdir -p /dev/pts /dev/shm && mount -t devpts devpts /dev/pts && mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
modprobe -a vfat exfat nfs nfsd cifs loop fuse sd_mod dm_flakey nls_utf8
cd {place}
{command} > {out}/said 2>&1
echo $? > {out}/code
sync; echo o > /proc/sysrq-trigger; sleep 60
"""


def run_in_a_machine(
    work: Path, command: Sequence[object], *, place: Path, timeout_s: float = 600.0
) -> tuple[int, str]:
    """Run *command* in *place* as root of such a machine; return its exit code and what it printed.

    Args:
        work: an empty folder.
        command: and its arguments.
        place: a folder of this machine.
        timeout_s: after which it is switched off.

    Raises:
        TimeoutError: the command has not ended by then.
    """
    require_root()
    program = require("qemu-system-x86_64")
    folder = _kernel()
    out = work / "out"
    out.mkdir(parents=True)
    script = _RUN.format(
        place=shlex.quote(str(place)), command=shlex.join(map(str, command)), out=_OUT
    )
    (out / "run").write_text(script)
    shares = {"files": "/,readonly=on", "modules": f"{folder}/lib/modules,readonly=on", "out": out}
    options: list[str | Path] = [
        "-m",
        _MEMORY,
        "-smp",
        "2",
        "-display",
        "none",
        "-nodefaults",
        "-no-reboot",
    ]
    options += ["-accel", _ACCELERATOR, "-cpu", "max"]
    options += ["-kernel", folder / "vmlinuz", "-initrd", folder / "initrd"]
    options += ["-append", "console=ttyS0 panic=-1", "-serial", f"file:{work}/console"]
    for tag, where in shares.items():
        path = f"local,path={where},mount_tag={tag},security_model=none,multidevs=remap"
        options += ["-virtfs", path]
    with (work / "qemu.log").open("w") as log:
        machine = subprocess.Popen(
            [program, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        machine.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"the machine runs on after {timeout_s:.0f} s:\n{_said(work)}") from None
    finally:
        machine.kill()
        machine.wait()
    if not (out / "code").exists():
        raise RuntimeError(f"the machine ended before its command:\n{_said(work)}")
    return int((out / "code").read_text()), (out / "said").read_text("utf-8", "replace")


def _said(work: Path) -> str:
    texts = [
        path.read_text("utf-8", "replace")[-3000:]
        for path in (work / "qemu.log", work / "console", work / "out/said")
        if path.exists()
    ]
    return "\n".join(texts)


def _kernel() -> Path:
    """Return a folder with Debian's kernel, its modules, and what it starts with; made once, and kept."""
    package = _newest_package()
    folder = _KEPT / package
    if (folder / "initrd").exists():
        return folder
    making = folder.with_suffix(".making")
    making.mkdir(parents=True, exist_ok=True)
    for tool in ("apt-get", "dpkg-deb", "depmod"):
        require(tool)
    done = subprocess.run(
        ["apt-get", "download", package], cwd=making, capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing(f"Debian's kernel cannot be had: {done.stderr[-400:]}")
    [archive] = making.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, making], check=True)
    archive.unlink()
    [kernel] = (making / "boot").glob("vmlinuz-*")
    version = kernel.name.removeprefix("vmlinuz-")
    subprocess.run(["depmod", "-b", making, version], check=True)
    kernel.rename(making / "vmlinuz")
    (making / "initrd").write_bytes(_initial_files(making / "lib/modules" / version))
    making.rename(folder)
    return folder


def _newest_package() -> str:
    """Return the package behind ``linux-image-amd64`` as this machine's lists have it."""
    shown = subprocess.run(
        ["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=False
    ).stdout
    names = [line.split()[-1] for line in shown.splitlines() if "Depends: linux-image-" in line]
    if not names:
        missing("this is no Debian that knows the package linux-image-amd64")
    return names[-1]


def _initial_files(modules: Path) -> bytes:
    """Return a cpio archive that mounts the root: BusyBox, and the modules that it takes."""
    busybox = require("busybox").read_bytes()
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needed = line.partition(":")
        needs[path] = needed.split()
    wanted: set[str] = set()
    for path, others in needs.items():
        if path.rsplit("/", 1)[-1].partition(".ko")[0] in _FOR_THE_ROOT:
            wanted |= {path, *others}
    base = f"lib/modules/{modules.name}"
    files = {f"{base}/{one}": (modules / one).read_bytes() for one in wanted}
    files[f"{base}/modules.dep"] = (modules / "modules.dep").read_bytes()
    files |= {"bin/busybox": busybox, "init": _INIT.encode()}
    folders = {"root", "lower", "layer", "proc", "sys", "dev"}
    for name in files:
        folders |= {str(one) for one in Path(name).parents if str(one) != "."}
    archive = [_entry(one, stat.S_IFDIR | 0o755, b"") for one in sorted(folders)]
    archive += [_entry(name, stat.S_IFREG | 0o755, data) for name, data in files.items()]
    return b"".join([*archive, _entry("TRAILER!!!", 0, b"")])


def _entry(name: str, mode: int, data: bytes) -> bytes:
    """Return one entry of the format "newc" (initramfs: buffer-format.rst of the kernel)."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08x" % one for one in fields) + encoded
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
