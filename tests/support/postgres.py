"""A PostgreSQL of the tests' own: in a folder, on a Unix socket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from tests.support.processes import wait_for
from tests.support.requirements import missing


class Postgres:
    """One server; each test has a database of its own in it."""

    def __init__(self, folder: Path, *, is_durable: bool = False) -> None:
        self.folder = folder
        self._is_durable = is_durable
        self._programs = _programs()
        self._child: subprocess.Popen[bytes] | None = None
        self._count = 0
        # It does not run as root.
        self._as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        folder.mkdir(parents=True, exist_ok=True)
        if self._as_other:
            shutil.chown(folder, "postgres")
        options = ["-A", "trust", "-U", "ingest", "--no-sync", "-E", "UTF8"]
        self._run("initdb", "-D", str(folder / "data"), *options)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "log_min_messages": "fatal",
            "fsync": "on" if self._is_durable else "off",
        }
        said = [one for name, value in options.items() for one in ("-c", f"{name}={value}")]
        program = self._programs / "postgres"
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [*self._as_other, program, "-D", self.folder / "data", *said],
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "PostgreSQL takes connections")

    def kill(self) -> None:
        """End it as a power cut would: with all that it had in memory."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 9)
        self._wait()

    def pause(self) -> None:
        """Let it do nothing, as one whose disk hangs."""
        first, *_ = self._processes()
        os.kill(first, signal.SIGSTOP)
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._child is not None
        for pid in [*self._processes(), self._child.pid]:  # runuser stops when its child does
            os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        """Return the first one, which makes no more once it stands still, and all that it has made."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children")
        return [pid, *map(int, children.read_text().split())]

    def stop(self) -> None:
        if self._child is not None:
            pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 2)
            self._wait()

    @contextmanager
    def standby(self) -> Iterator[Postgres]:
        """Run a second one, as long as the body does, that follows this one and takes no writes."""
        with TemporaryDirectory(prefix="standby-") as folder:
            other = copy(self)
            other.folder, other._child = Path(folder), None
            if self._as_other:
                shutil.chown(other.folder, "postgres")
            where = ("-h", str(self.folder), "-U", "ingest")
            self._run("pg_basebackup", "-D", str(other.folder / "data"), "-R", "-c", "fast", *where)
            (other.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
            other.start()
            try:
                yield other
            finally:
                other.stop()

    def promote(self) -> None:
        """Let a standby be the one that takes writes; at once."""
        self._run("pg_ctl", "promote", "-D", str(self.folder / "data"), "-w")

    def database(self) -> str:
        """Make an empty place for tables; return its URL. A schema: a database takes its time."""
        self._count += 1
        name = f"t{self._count}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url()}&options=-c%20search_path%3D{name}"

    @property
    def socket(self) -> str:
        return str(self.folder / ".s.PGSQL.5432")

    def url(self) -> str:
        return f"postgresql://ingest@/postgres?host={self.folder}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def _wait(self) -> None:
        assert self._child is not None
        self._child.wait(20)
        self._child = None

    def _run(self, program: str, *arguments: str) -> None:
        command: list[str | Path] = [*self._as_other, self._programs / program, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=self.folder)


@contextmanager
def postgres(*, is_durable: bool = False) -> Iterator[Postgres]:
    """Run a server as long as the body does.

    Args:
        is_durable: whether it waits for the disk, as it is used; most tests ask nothing of that.
    """
    # Not below a test's own folder: whoever it runs as may not look into that.
    with TemporaryDirectory(prefix="postgres-") as folder:
        found = Postgres(Path(folder), is_durable=is_durable)
        found.start()
        try:
            yield found
        finally:
            found.stop()


def _programs() -> Path:
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not newest:
        missing("PostgreSQL (Debian: postgresql) is not installed")
    return newest[-1].parent
