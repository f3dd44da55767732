"""A store's client, set up so that clones of S3 take what it sends.

Nothing is sent that they are known to refuse: no checksum in a trailer, no chunked body. What is put carries its
MD5, so that the store itself refuses bytes that changed on the way.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import socket
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import structlog
from botocore.config import Config
from botocore.credentials import SharedCredentialProvider
from botocore.exceptions import BotoCoreError

from ingest_server.storage.s3.place import Place
from ingest_server.storage.s3.store_errors import as_os_errors

log = structlog.get_logger()

CONNECT_S = 5.0
READ_S = 30.0
"""How long nothing may come of one try; a store that makes an object of thousands of parts takes its time."""
TRIES = 4
"""Of one request. After that the client is told, and comes again."""
CONNECTIONS = 64
UNSENT_BYTES = 128 * 1024
"""In the kernel for one connection: it holds megabytes otherwise, and on a slow way nothing comes for longer than one
waits while they are sent."""

_NEW_CHECKSUMS = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer")


def connect(place: Place, endpoint: str | None) -> Any:
    """Return a client of *place*'s store, by *endpoint*; None: AWS.

    Raises:
        OSError: the file with the key cannot be read, or has none.
    """
    session = botocore.session.Session()
    if place.credentials_file is not None:
        _use_key_of(session, place.credentials_file)
    with as_os_errors("the store"):
        client = boto3.Session(botocore_session=session).client(
            "s3",
            endpoint_url=endpoint,
            region_name=place.region or session.get_config_variable("region") or "us-east-1",
            config=Config(
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                max_pool_connections=CONNECTIONS,
                retries={"total_max_attempts": TRIES, "mode": "standard"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                signature_version="s3v4",
                s3={"addressing_style": "auto" if endpoint is None else "path"},
            ),
        )
    _bound_unsent(client)
    client.meta.events.register("before-sign.s3.DeleteObjects", _with_md5_alone)
    return client


def _bound_unsent(client: Any) -> None:
    """Let each new connection hold no more than `UNSENT_BYTES` that are not sent: botocore has no setting for it.

    It only helps on a slow way to the store: with another botocore it may be left out.
    """
    try:
        pools = client._endpoint.http_session._manager.connection_pool_kw
        option = (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        pools["socket_options"] = [*(pools.get("socket_options") or ()), option]
    except (AttributeError, TypeError) as error:
        log.warning(
            "s3.unsent_not_bounded",
            error=f"{error}: on a way of less than some 100 kB/s to the store, requests may run out of time",
            action="none on a faster way; else use the boto3 of constraints.txt, with which this was tried",
        )


def md5(data: bytes | bytearray) -> str:
    """Return the MD5 of *data* as a ``Content-MD5`` has it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")


def _with_md5_alone(request: Any, **_: Any) -> None:
    """Let a request say its MD5 and no newer checksum: S3 and all clones take that, and some want it."""
    for name in [one for one in request.headers if one.lower().startswith(_NEW_CHECKSUMS)]:
        del request.headers[name]
    request.headers["Content-MD5"] = md5(request.body)


def _use_key_of(session: botocore.session.Session, path: Path) -> None:
    """Let the file's key count, whatever the environment says.

    Raises:
        OSError: there is none in it.
    """
    profile = session.get_config_variable("profile") or "default"
    try:
        found = SharedCredentialProvider(str(path), profile_name=profile).load()
    except BotoCoreError as error:
        raise OSError(errno.EINVAL, f"{path} cannot be read: {error}") from error
    if found is None:
        said = f"{path} is not there, or has no aws_access_key_id and aws_secret_access_key below [{profile}]"
        raise OSError(errno.ENOENT, said)
    session.set_credentials(found.access_key, found.secret_key, found.token)
