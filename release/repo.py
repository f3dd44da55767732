"""`make repo`: a signed apt repository of the packages in a folder, as files that any web server can give out.

The key is in the variable EDGE_UPLOADER_SIGNING_KEY (ASCII-armoured, without a passphrase) and goes into a keyring
that ends with this program. `gpg` and `dpkg-deb` do the work. A version that is in the repository stays in it, so that
a machine can go back; packages are put there before the index that names them, the signature comes last.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from release.targets import MACHINES, TREE

KEY = "EDGE_UPLOADER_SIGNING_KEY"
SUITE, COMPONENT = "stable", "main"


def make(packages: Path, into: Path, key: str) -> None:
    """Put the packages in *packages* into the repository at *into*, and sign it.

    Raises:
        SystemExit: there is no package, or the key cannot be used.
    """
    found = sorted(packages.glob("*.deb"))
    if not found:
        sys.exit(f"there is no package in {packages}: make deb")
    pool = into / "pool" / COMPONENT
    pool.mkdir(parents=True, exist_ok=True)
    for one in found:
        there = pool / one.name
        if there.exists() and there.read_bytes() != one.read_bytes():
            sys.exit(
                f"{one.name} is in the repository with other bytes: a version is given out once. Give it a new one."
            )
        _put(there, one.read_bytes())
    suite = into / "dists" / SUITE
    indexes = dict(_indexes(into, pool))
    for name, content in indexes.items():
        _put(suite / name, content)
    _sign(suite, _release(indexes), key, into / "edge-uploader.gpg")


def _indexes(root: Path, pool: Path) -> Iterator[tuple[str, bytes]]:
    packages = [(one, _control(one)) for one in sorted(pool.glob("*.deb"))]
    for machine in MACHINES:
        stanzas = [
            _stanza(root, one, text)
            for one, text in packages
            if f"Architecture: {machine}\n" in text
        ]
        content = "\n".join(stanzas).encode()
        place = f"{COMPONENT}/binary-{machine}/Packages"
        yield place, content
        yield f"{place}.gz", gzip.compress(content, mtime=0)
        yield f"{place}.xz", lzma.compress(content)


def _control(package: Path) -> str:
    done = subprocess.run(
        ["dpkg-deb", "--field", package], capture_output=True, text=True, check=True
    )
    return done.stdout


def _stanza(root: Path, package: Path, control: str) -> str:
    content = package.read_bytes()
    return (
        f"{control}Filename: {package.relative_to(root)}\nSize: {len(content)}\n"
        f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
    )


def _release(indexes: dict[str, bytes]) -> str:
    sums = "".join(
        f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n"
        for name, content in sorted(indexes.items())
    )
    return (
        f"Origin: edge-uploader\nLabel: edge-uploader\nSuite: {SUITE}\nCodename: {SUITE}\n"
        f"Date: {format_datetime(datetime.now(UTC), usegmt=True)}\nArchitectures: {' '.join(MACHINES)}\n"
        f"Components: {COMPONENT}\nDescription: Edge uploader\nSHA256:\n{sums}"
    )


def _sign(suite: Path, release: str, key: str, public: Path) -> None:
    with tempfile.TemporaryDirectory() as home:  # mode 0700
        gpg = [
            "gpg",
            "--homedir",
            home,
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode",
            "loopback",
        ]
        try:
            _gpg([*gpg, "--import"], key)
            signed = _gpg([*gpg, "--clear-sign", "--digest-algo", "SHA512"], release)
            detached = _gpg([*gpg, "--detach-sign", "--armor", "--digest-algo", "SHA512"], release)
            ring = _gpg([*gpg, "--export"], "")
        finally:
            subprocess.run(
                ["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True
            )
    _put(public, ring)
    _put(suite / "Release", release.encode())
    _put(suite / "Release.gpg", detached)
    _put(suite / "InRelease", signed)  # what apt asks for first


def _gpg(command: list[str], text: str) -> bytes:
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"gpg {command[-1]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make repo", description="Makes or extends a signed apt repository."
    )
    parser.add_argument("--packages", type=Path, default=TREE / "dist")
    parser.add_argument("--into", type=Path, default=TREE / "dist" / "apt")
    options = parser.parse_args()
    key = os.environ.get(KEY)
    if not key:
        sys.exit(
            f"${KEY} is not set: it takes the key that signs, as `gpg --armor --export-secret-keys` prints it."
        )
    for program in ("gpg", "dpkg-deb"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not installed: apt install gnupg dpkg")
    make(options.packages, options.into, key)
    print(options.into)


if __name__ == "__main__":
    main()
