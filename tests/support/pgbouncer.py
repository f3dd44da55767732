"""A PgBouncer of the tests' own, before a PostgreSQL of theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import psycopg

from tests.support.postgres import Postgres
from tests.support.processes import wait_for
from tests.support.requirements import require

PORT = 6432
"""Of the name of its socket alone: it listens nowhere else."""


@contextmanager
def pgbouncer(database: Postgres, *, mode: Literal["session", "transaction"]) -> Iterator[str]:
    """Run it as long as the body does; yields the URL of a database behind it that nobody has used."""
    program = require("pgbouncer")
    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {mode}".encode())
    with TemporaryDirectory(prefix="pgbouncer-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "users").write_text('"ingest" ""\n')
        (folder / "config").write_text(
            f"[databases]\n{mode} = host={database.folder} dbname={mode} user=ingest\n"
            f"[pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\nunix_socket_dir = {folder}\n"
            f"auth_type = any\nauth_file = {folder}/users\npool_mode = {mode}\ndefault_pool_size = 8\n"
        )
        as_other = []
        if os.geteuid() == 0:  # it does not run as root
            shutil.chown(folder, "postgres")
            as_other = ["runuser", "-u", "postgres", "--"]
        with (Path(made) / "log").open("wb") as log:
            command: list[str | Path] = [*as_other, program, folder / "config"]
            child = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for((folder / f".s.PGSQL.{PORT}").exists, "PgBouncer listens")
            yield f"postgresql://ingest@/{mode}?host={folder}&port={PORT}"
        finally:
            child.terminate()
            child.wait(20)
