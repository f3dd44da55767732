"""A store tried out: an object of two parts made, read and removed, and what the store does not do."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Callable, Iterator

from ingest_server.core.errors import StorageError
from ingest_server.storage.s3.arriving import Pieces
from ingest_server.storage.s3.assembling import Assembly
from ingest_server.storage.s3.bucket import Bucket, Listed
from ingest_server.storage.s3.pieces import PART_BYTES
from ingest_server.storage.s3.store_errors import TakenError
from upload_protocol.digests import Digest


def try_out(bucket: Bucket, folder: str) -> Iterator[str]:
    """Do all that a server will ask of the store; yield what it does not do, and what that means.

    Args:
        folder: what the keys of the objects that are made begin with; none is left.

    Raises:
        OSError: the store cannot be used; it says why.
    """
    mine = f"{folder}{secrets.token_hex(8)}/"
    try:
        yield from _tried(bucket, mine)
    finally:
        bucket.delete_all([one.key for one in bucket.listed(mine)])


def _tried(bucket: Bucket, mine: str) -> Iterator[str]:
    data = secrets.token_bytes(4096) * (PART_BYTES // 4096) + b"."
    pieces = Pieces(bucket, f"{mine}parts/")
    for start in (0, PART_BYTES):
        pieces.put(data[start : start + PART_BYTES], start, (0, 0), secrets.token_hex(4))
    assembly, key = Assembly(bucket), f"{mine}made"
    assembly.of_pieces(key, pieces.all(), len(data), {"sha256": "tried"})
    head = bucket.head(key)
    if head is None or head.facts.get("sha256") != "tried":
        raise OSError(errno.EIO, "an object of two parts was made, and is not there as it was made")
    if bucket.get(Listed(key, head.size, head.etag), 0, head.size) != data:
        raise OSError(errno.EIO, "an object of two parts has other bytes than its parts")
    if not assembly.can_copy:
        yield (
            "it cannot copy parts inside itself: every byte of a file above 8 MiB is sent to it "
            "twice, and read once more"
        )
    if not _refuses(lambda: bucket.put(f"{mine}made", b"other", is_new=True)):
        yield (
            "it ignores If-None-Match: let no other program write below this prefix, for its "
            "objects could be replaced by ours of the same name"
        )
    if not _refuses(lambda: bucket.put(f"{mine}wrong", b"sent", md5_of=b"meant")):
        yield (
            "it does not look at Content-MD5: bytes that change on their way to it are found only "
            "when the file is whole, and all of it has to be sent again"
        )


def try_direct(bucket: Bucket, folder: str) -> None:
    """Store an object by a link as devices get it, and try what the link is not for.

    Args:
        folder: what the keys of the objects that are made begin with; none is left.

    Raises:
        StorageError: the store takes other bytes than were signed, or does not say what it has.
        OSError: it cannot be used; it says why.
    """
    mine = f"{folder}{secrets.token_hex(8)}/"
    data = secrets.token_bytes(1000)
    digest = Digest.of(data)
    try:
        for said, sent in (("other bytes", data[::-1]), ("more bytes", data + b".")):
            url, headers = bucket.links.to_put(f"{mine}{said}", len(data), digest, 60, is_own=True)
            if bucket.links.put_by(url, sent, headers) < 400:
                raise _not_direct(bucket, f"takes {said} by a link than were signed")
        url, headers = bucket.links.to_put(f"{mine}right", len(data), digest, 60, is_own=True)
        status = bucket.links.put_by(url, data, headers)
        if status >= 400:
            raise _not_direct(bucket, f"takes no object by a signed link (answer {status})")
        if not bucket.has(f"{mine}right", len(data), digest):
            raise _not_direct(bucket, "does not say which SHA-256 an object has")
    finally:
        bucket.delete_all([one.key for one in bucket.listed(mine)])


def _not_direct(bucket: Bucket, why: str) -> StorageError:
    return StorageError(
        f"{bucket.place}: the store {why}, so devices cannot send to it themselves: leave direct out of its "
        "[[route]], and all goes through the server"
    )


def _refuses(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except TakenError:
        return True
    except OSError as error:
        return error.errno == errno.EBADMSG
    return False
