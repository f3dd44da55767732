"""`make deb`: Debian packages of the agent and of the server, each with all that it needs below /opt.

Built by `dpkg-deb` alone, for machines of another kind too: nothing is compiled here. The same tree and date
(SOURCE_DATE_EPOCH) give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from release import manual, sbom
from release.staging import stage
from release.targets import MACHINES, PYTHONS, SIDES, TREE

PARTS = Path(__file__).parent / "debian"
_PROGRAMS = {"agent": ("edge-agent", "edge_agent"), "server": ("ingest-server", "ingest_server")}
SHARED = {
    "agent": (
        "config.example.toml",
        "deploy/systemd/chacha20.conf",
        "deploy/systemd/growing-restart.conf",
        "deploy/systemd/openssl-chacha20.cnf",
        "deploy/systemd/recorder-hooks.socket",
    ),
    "server": ("server.example.toml", "deploy/nginx/ingest-server.conf"),
}
_DEPENDS = {
    "agent": "python3 (>= 3.11~), python3 (<< 3.15~), ca-certificates",
    "server": "python3 (>= 3.11~), python3 (<< 3.15~), ca-certificates, openssl",
}
_ABOUT = {
    "agent": "sends recordings from a device over links that break\n"
    " Notices each recording in a folder, sends it to an ingest server, and lets it go only\n"
    " when the server holds a verified copy.",
    "server": "takes resumable uploads of recordings from devices in the field\n"
    " Acknowledges only what is on its disk, verifies SHA-256 over what it stored, and never\n"
    " publishes over a file that is there.",
}
_STARTER = """#!/usr/bin/python3 -sSP
# Of the system's Python its own modules alone: all others are below {folder}.
import sys

sys.path.insert(0, "{folder}/lib")
from {module}.__main__ import main

sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Package:
    side: str
    machine: str
    tree: Path

    @property
    def name(self) -> str:
        return f"edge-uploader-{self.side}"

    @property
    def folder(self) -> str:
        return f"/opt/{self.name}"

    def build(self, pythons: Sequence[str], version: str | None, out: Path) -> Path:
        """Build it in the folder *out*; return its file."""
        with tempfile.TemporaryDirectory() as work:
            root = Path(work)
            root.chmod(0o755)
            lib = root / self.folder[1:] / "lib"
            lib.mkdir(parents=True)
            own = stage(self.side, MACHINES[self.machine], pythons, self.tree, lib)
            version = version or _debian_version(own, self.tree)
            self._put_program(root)
            self._put_units(root)
            self._put_rest(root)
            manual.put(self.side, root, _epoch(self.tree))
            self._put_control(root, version)
            out.mkdir(parents=True, exist_ok=True)
            file = out / f"{self.name}_{version}_{self.machine}.deb"
            made = file.with_suffix(".cdx.json")
            made.write_text(sbom.document(lib, self.name, version, self.machine))
            _calm(root)
            command: list[str | Path] = [
                "dpkg-deb",
                "--build",
                "--root-owner-group",
                "-Zxz",
                root,
                file,
            ]
            subprocess.run(
                command,
                check=True,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"SOURCE_DATE_EPOCH": _epoch(self.tree)},
            )
        for one in (file, made):
            digest = hashlib.sha256(one.read_bytes()).hexdigest()
            one.with_name(f"{one.name}.sha256").write_text(f"{digest}  {one.name}\n")
        return file

    def _put_program(self, root: Path) -> None:
        program, module = _PROGRAMS[self.side]
        starter = root / self.folder[1:] / "bin" / program
        starter.parent.mkdir()
        starter.write_text(_STARTER.format(folder=self.folder, module=module))
        starter.chmod(0o755)
        link = root / "usr/bin" / program
        link.parent.mkdir(parents=True)
        link.symlink_to(f"{self.folder}/bin/{program}")

    def _put_units(self, root: Path) -> None:
        units = root / "usr/lib/systemd/system"
        units.mkdir(parents=True)
        for one in sorted((self.tree / "deploy/systemd").glob(f"{_PROGRAMS[self.side][0]}*")):
            text = one.read_text().replace("/opt/edge-uploader/bin/", f"{self.folder}/bin/")
            (units / one.name).write_text(text)

    def _put_rest(self, root: Path) -> None:
        share = root / "usr/share" / self.name
        share.mkdir(parents=True)
        for name in SHARED[self.side]:
            if (self.tree / name).is_file():  # older sources (--tree) do not have each of them
                shutil.copyfile(self.tree / name, share / Path(name).name)
        doc = root / "usr/share/doc" / self.name
        doc.mkdir(parents=True)
        shutil.copyfile(self.tree / "LICENSE", doc / "copyright")
        for one in sorted((PARTS / self.side).rglob("*")):
            if one.is_file():
                there = root / one.relative_to(PARTS / self.side)
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(one, there)

    def _put_control(self, root: Path, version: str) -> None:
        control = root / "DEBIAN"
        control.mkdir()
        program, _ = _PROGRAMS[self.side]
        files = [
            one
            for one in sorted(root.rglob("*"))
            if one.is_file() and not one.is_symlink() and control not in one.parents
        ]
        (control / "control").write_text(
            f"Package: {self.name}\nVersion: {version}\nArchitecture: {self.machine}\n"
            "Maintainer: The edge-uploader founders <edge-uploader@localhost>\nSection: net\nPriority: optional\n"
            f"Depends: {_DEPENDS[self.side]}\nRecommends: systemd\n"
            f"Installed-Size: {sum(one.stat().st_size for one in files) // 1024}\n"
            f"Description: {_ABOUT[self.side]}\n"
        )
        sums = (
            f"{hashlib.md5(one.read_bytes(), usedforsecurity=False).hexdigest()}  {one.relative_to(root)}\n"
            for one in files
        )
        (control / "md5sums").write_text("".join(sums))
        (control / "triggers").write_text("interest-noawait /usr/bin/python3\n")
        for name in ("preinst", "postinst", "prerm", "postrm"):
            text = (PARTS / name).read_text()
            for mark, value in (
                ("NAME", self.name),
                ("VERSION", version),
                ("PROGRAM", program),
                ("FOLDER", self.folder),
            ):
                text = text.replace(f"@{mark}@", value)
            (control / name).write_text(text)
            (control / name).chmod(0o755)


def _calm(root: Path) -> None:
    """Let modes be the same whoever builds."""
    for one in root.rglob("*"):
        if not one.is_symlink():
            one.chmod(0o755 if one.is_dir() or one.stat().st_mode & 0o100 else 0o644)


def _git(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", tree, *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _debian_version(version: str, tree: Path) -> str:
    """Return the version; of a commit without its tag, one that is older than it and newer than those before."""
    if f"v{version}" in _git(tree, "tag", "--points-at", "HEAD").split():
        return version
    count, commit = (
        _git(tree, "rev-list", "--count", "HEAD"),
        _git(tree, "rev-parse", "--short", "HEAD"),
    )
    return f"{version}~{count}.g{commit}" if count else version


def _epoch(tree: Path) -> str:
    return os.environ.get("SOURCE_DATE_EPOCH") or _git(tree, "log", "-1", "--format=%ct") or "0"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make deb", description="Builds Debian packages into a folder."
    )
    parser.add_argument("--side", action="append", choices=SIDES, help="(default: both)")
    parser.add_argument(
        "--arch", action="append", choices=sorted(MACHINES), help="(default: all three)"
    )
    parser.add_argument("--python", action="append", choices=PYTHONS, help="(default: all four)")
    parser.add_argument(
        "--version", help="(default: of pyproject.toml, and of the commit where it has no tag)"
    )
    parser.add_argument("--tree", type=Path, default=TREE, help="other sources to package")
    parser.add_argument("--out", type=Path, default=TREE / "dist")
    options = parser.parse_args()
    if shutil.which("dpkg-deb") is None:
        sys.exit("dpkg-deb is not installed: apt install dpkg")
    for side in options.side or SIDES:
        for machine in options.arch or MACHINES:
            package = Package(side, machine, options.tree.absolute())
            print(package.build(options.python or PYTHONS, options.version, options.out))


if __name__ == "__main__":
    main()
