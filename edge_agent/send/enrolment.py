"""A device's token from the server itself: claimed at first contact, and its next one.

A claim token lies on the image of many devices and gives each of them a token of its own, once. The
server takes a repetition of a claim whose answer was lost; of a rotation, the old token stays good
until the new one is used, so the new one is on disk before that.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import structlog

from edge_agent.base.credentials import FOR_SERVER, credential, read_secret
from edge_agent.base.errors import AgentError, ConfigError, TransportError
from edge_agent.base.settings import AgentSettings, ServerSettings
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.send.clients.interface import EnrolmentClient
from edge_host.durable import sync
from upload_protocol.enrolment import MAX_SERIAL

log = structlog.get_logger()

_BACKOFF = BackoffPolicy(2.0, 300.0)
_DONE_S = 3600.0
_SERIALS = (Path("/proc/device-tree/serial-number"), Path("/etc/machine-id"))
"""Of the board; where it has none, of the installation."""


class Enrolment:
    """A worker that claims this device's token where there is none yet.

    Args:
        connect: makes a client of the server; used for one claim, without a token.
        on_token: called when the token is on disk.
    """

    def __init__(
        self,
        settings: AgentSettings,
        connect: Callable[[], EnrolmentClient],
        *,
        jitter: Callable[[], float],
        on_token: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._jitter = jitter
        self._on_token = on_token
        self._failures = 0
        self._told = ""

    def step(self, _now_s: float) -> float:
        """Claim a token if there is none; return the seconds until the next look."""
        server = self._settings.server
        if server.claim_token_file is None or server.token_file is None or has_token(server):
            return _DONE_S
        try:
            claim_token = read_secret("", server.claim_token_file) or ""
            with contextlib.closing(self._connect()) as client:
                token = client.claim(claim_token, self._settings.device_id, serial_number())
            write_token(server.token_file, token)
        except (TransportError, ConfigError, OSError) as error:
            self._failures += 1
            self._tell(str(error))
            return max(1.0, _BACKOFF.delay_s(self._failures, jitter=self._jitter()))
        log.info("token.claimed", device_id=self._settings.device_id, path=str(server.token_file))
        self._on_token()
        return _DONE_S

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            log.warning(
                "token.not_claimed",
                error=problem,
                action="tried again; on the server: ingest-server claim list, or token add",
            )


def has_token(server: ServerSettings) -> bool:
    """Return whether a token is there, in systemd's hands or in the file."""
    file = server.token_file
    with contextlib.suppress(OSError):  # in a folder that this user may not enter
        return credential(FOR_SERVER) is not None or (file is not None and file.is_file())
    return False


def serial_number(files: tuple[Path, ...] = _SERIALS) -> str:
    """Return what tells this device from another that began with the same image."""
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = file.read_text(encoding="ascii").strip("\0\n ")
            if found:
                return found[:MAX_SERIAL]
    return "unknown"


def rotate(settings: AgentSettings, client: EnrolmentClient) -> None:
    """Replace the token in `token_file` by its successor; on disk before it is used.

    Raises:
        AgentError: nothing changed, or (the message says so) the new token waits in the file.
    """
    path = settings.server.token_file
    if credential(FOR_SERVER) is not None:
        msg = (
            "the token is systemd's credential, which this program cannot write: make a new one with"
            " ingest-server token add, put it in its place, and restart the agent"
        )
        raise AgentError(msg)
    if path is None:
        raise AgentError("there is no [server] token_file, so no token that could be replaced")
    token = client.rotate()
    try:
        write_token(path, token)
    except OSError as error:
        msg = (
            f"{path} cannot be written ({error.strerror}): the old token stays good; run this again"
        )
        raise AgentError(msg) from error
    client.probe(secrets.token_hex(16))  # the first use of the new one ends the old one


def write_token(path: Path, token: str) -> None:
    """Put *token* in the place of the file at *path*: whole, durable, for its owner only.

    Raises:
        OSError: the old content, or none, is still there.
    """
    folder = path.parent
    fresh = folder / f".{path.name}.{secrets.token_hex(4)}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(fd, f"{token}\n".encode("ascii"))
            if os.geteuid() == 0:
                # Whoever may write in that folder is who has to read it: root runs commands only.
                owner = path.stat() if path.exists() else folder.stat()
                os.fchown(fd, owner.st_uid, owner.st_gid)
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(folder)
