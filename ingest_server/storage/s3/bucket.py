"""One bucket, as few requests that say what they mean.

Every error leaves here as the `OSError` that fits (`store_errors`). A request that a store refuses for the moment
(503, SlowDown, a connection that broke) has been tried again by then, with pauses. What is sent so that clones of
S3 take it is in `client`, links for others are in `links`.
"""

from __future__ import annotations

import base64
import errno
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import IO, Any

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from edge_host.clock import SystemClock
from ingest_server.storage.s3.client import connect, md5
from ingest_server.storage.s3.links import Links
from ingest_server.storage.s3.place import Place
from ingest_server.storage.s3.store_errors import (
    GoneUploadError,
    UnknownCallError,
    as_os_errors,
    error_of,
    said_in,
)
from ingest_server.storage.silence import Silence
from upload_protocol.digests import Digest

LAST_TRY_S = 20.0
"""After so long no try follows another: a request ends soon after a store has fallen silent."""
SILENT_S = 10.0
"""Without any byte that came, and for somebody who waits without one that was taken: a part may take minutes on a
slow way."""
SENT_BYTES = 64 * 1024
"""Sent at once: on a new connection, that takes no longer than connecting may, on however slow a way."""
READ_BYTES = 256 * 1024
"""Read at once."""
MOST_AT_ONCE = 1000
"""Keys in one request to delete."""

_REFUSALS = (ClientError,)
_NOTHING = (ReadTimeoutError, ConnectTimeoutError)


@dataclass(frozen=True, slots=True)
class Head:
    """What a store says of an object without its bytes. It proves nothing of them."""

    key: str
    size: int
    etag: str
    modified: datetime
    facts: Mapping[str, str]
    """What was put beside it."""


@dataclass(frozen=True, slots=True)
class Listed:
    key: str
    size: int
    etag: str


class Stream:
    """The bytes of one answer, as they come."""

    def __init__(self, body: Any, key: str, heard: Callable[[], None]) -> None:
        """*heard* is told of each."""
        self._body = body
        self._key = key
        self._heard = heard

    def read(self, length: int) -> bytes:
        """Return the next *length* bytes, fewer only at the end.

        Raises:
            OSError: the answer broke off.
        """
        with as_os_errors(self._key):
            found = bytearray()
            while len(found) < length:
                some = self._body.read(min(length - len(found), READ_BYTES))
                if not some:
                    break
                self._heard()
                found += some
            return bytes(found)

    def close(self) -> None:
        self._body.close()


class _Sent:
    """What is sent to the store, piece by piece."""

    def __init__(self, body: IO[bytes], taken: Callable[[int], None]) -> None:
        """*taken* is told how many bytes were taken from here."""
        self._body = body
        self._taken = taken

    def read(self, _: int = -1) -> bytes:
        """Return the next piece, longer than who sends it asks for; when this is asked, the last one is sent."""
        self._taken(self._body.tell())
        return self._body.read(SENT_BYTES)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


class Bucket:
    """What is asked of the store; used from any thread."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._silence = Silence(SystemClock().now_s, silent_s=SILENT_S)
        self._begun = threading.local()
        self._client = shown = connect(place, place.endpoint)
        self._client.meta.events.register("request-created.s3", self._refuse_late)
        self._client.meta.events.register("before-send.s3", self._send_in_pieces)
        if place.shown_endpoint is not None:
            shown = connect(place, place.shown_endpoint)
        self._clients = (self._client, shown)
        self.links = Links(place, self._client, shown)

    def beside(self, place: Place) -> Bucket:
        """Return another bucket of this store, by the same connections; closing this one closes them."""
        other = copy(self)
        other.place = place
        other.links = self.links.beside(place)
        return other

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def has(self, key: str, size: int, digest: Digest) -> bool:
        """Whether the store says of an object that it has *size* bytes with this digest."""
        try:
            found = self._ask("head_object", key, Key=key, ChecksumMode="ENABLED")
        except FileNotFoundError:
            return False
        value = base64.b64encode(digest.value).decode("ascii")
        return (found.get("ContentLength"), found.get("ChecksumSHA256")) == (size, value)

    def look(self) -> None:
        """Ask for something that whoever may use the bucket is told."""
        self._ask("list_objects_v2", self.place.prefix, Prefix=self.place.prefix, MaxKeys=1)

    def head(self, key: str) -> Head | None:
        """Return what the store says of an object; None: there is none."""
        try:
            found = self._ask("head_object", key, Key=key)
        except FileNotFoundError:
            return None
        return Head(
            key,
            int(said_in(found, "ContentLength")),
            str(said_in(found, "ETag")),
            said_in(found, "LastModified"),
            {name.lower(): value for name, value in found.get("Metadata", {}).items()},
        )

    def put(
        self,
        key: str,
        data: bytes | bytearray,
        *,
        is_new: bool = False,
        facts: Mapping[str, str] | None = None,
        md5_of: bytes | None = None,
    ) -> None:
        """Store an object; durable on return, as far as the store keeps its promise.

        Args:
            is_new: only where there is none of that key.
            facts: put beside it.
            md5_of: what was to be stored, where that is something else: to see whether it is refused.

        Raises:
            TakenError: *is_new*, and there is one.
        """
        more = {"IfNoneMatch": "*"} if is_new else {}
        self._ask(
            "put_object",
            key,
            Key=key,
            Body=data,
            ContentMD5=md5(data if md5_of is None else md5_of),
            Metadata=dict(facts or {}),
            **more,
        )

    def stream(self, key: str, start: int, stop: int, etag: str = "") -> Stream:
        """Return the bytes ``[start, stop)`` of an object as they come; whoever asked closes it.

        Raises:
            FileNotFoundError: there is no such object.
            TakenError: it is not the one that had *etag*.
        """
        more = {"IfMatch": etag} if etag else {}
        span = f"bytes={start}-{stop - 1}"
        body = self._ask("get_object", key, Key=key, Range=span, **more)["Body"]
        return Stream(body, key, self._silence.heard)

    def get(self, stored: Listed, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)`` of an object that has them.

        Raises:
            OSError: the store does not give them all; it was asked twice.
        """
        if start == stop:
            return b""
        for _ in range(2):
            with closing(self.stream(stored.key, start, stop, stored.etag)) as stream:
                data = stream.read(stop - start)
            if len(data) == stop - start:
                return data
        raise OSError(errno.EIO, "the store's answer ended early", stored.key)

    def listed(self, prefix: str, *, after: str = "", at_once: int = 1000) -> Iterator[Listed]:
        """Yield the objects whose keys begin with *prefix*, in their order, from past *after* on."""
        for page in self._pages(prefix, after=after, at_once=at_once):
            for one in page.get("Contents", ()):
                yield Listed(str(one["Key"]), int(one["Size"]), str(said_in(one, "ETag")))

    def folder(self, prefix: str) -> Iterator[tuple[str, bool]]:
        """Yield the names directly below *prefix*, and whether each is a folder."""
        for page in self._pages(prefix, Delimiter="/"):
            for one in page.get("Contents", ()):
                yield str(one["Key"]).removeprefix(prefix), False
            for one in page.get("CommonPrefixes", ()):
                yield str(one["Prefix"]).removeprefix(prefix).rstrip("/"), True

    def has_below(self, prefix: str) -> bool:
        return any(self.listed(prefix, at_once=1))

    def delete(self, key: str, *, etag: str | None = None) -> None:
        """Delete an object, if it is there.

        Raises:
            TakenError: it is not the one that had *etag*.
        """
        self._ask("delete_object", key, Key=key, **({} if etag is None else {"IfMatch": etag}))

    def delete_all(self, keys: Iterable[str]) -> None:
        """Delete many objects.

        Raises:
            OSError: one could not be deleted; others may be gone.
        """
        left = iter(keys)
        while some := list(islice(left, MOST_AT_ONCE)):
            wanted = {"Objects": [{"Key": key} for key in some], "Quiet": True}
            try:
                answer = self._ask("delete_objects", some[0], Delete=wanted)
            except UnknownCallError:
                for key in some:
                    self.delete(key)
                continue
            for failed in answer.get("Errors", ()):  # in an answer that says 200
                raise error_of(str(failed.get("Code")), str(failed.get("Message")), failed["Key"])

    def begin(self, key: str, facts: Mapping[str, str]) -> str:
        """Begin to make an object of parts; return what the store calls that."""
        return str(
            said_in(
                self._ask("create_multipart_upload", key, Key=key, Metadata=dict(facts)), "UploadId"
            )
        )

    def put_part(self, key: str, made_as: str, number: int, data: bytes | bytearray) -> str:
        """Store one part; return its ETag."""
        found = self._ask(
            "upload_part",
            key,
            Key=key,
            UploadId=made_as,
            PartNumber=number,
            Body=data,
            ContentMD5=md5(data),
        )
        return str(said_in(found, "ETag"))

    def copy_part(
        self, key: str, made_as: str, number: int, source: Listed, *, start: int, stop: int
    ) -> str:
        """Let the store copy bytes of an object of its own into a part; return the part's ETag.

        Raises:
            UnknownCallError: this store does not.
            TakenError, FileNotFoundError: *source* is another, or gone.
        """
        is_whole = (start, stop) == (0, source.size)
        more = {} if is_whole else {"CopySourceRange": f"bytes={start}-{stop - 1}"}
        found = self._ask(
            "upload_part_copy",
            source.key,
            Key=key,
            UploadId=made_as,
            PartNumber=number,
            CopySource={"Bucket": self.place.bucket, "Key": source.key},
            CopySourceIfMatch=source.etag,
            **more,
        )
        # Some take it for a part without bytes, and say so.
        if "ETag" not in found.get("CopyPartResult", ()):
            raise UnknownCallError(errno.ENOSYS, "the store does not copy into parts", source.key)
        return str(found["CopyPartResult"]["ETag"])

    def complete(self, key: str, made_as: str, etags: Sequence[str]) -> None:
        """Make the object of its parts, numbered from 1, where there is none of that key.

        Raises:
            TakenError: there is one.
            GoneUploadError: the store does not know the upload: it says nothing of the object.
        """
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        self._ask(
            "complete_multipart_upload",
            key,
            Key=key,
            UploadId=made_as,
            MultipartUpload={"Parts": parts},
            IfNoneMatch="*",
        )

    def unfinished(self, key: str) -> list[str]:
        """Return what the store calls each upload of parts for just this key that was not completed."""
        try:
            found = self._ask("list_multipart_uploads", key, Prefix=key)
        except GoneUploadError:  # so some stores say that there is none
            return []
        return [str(one["UploadId"]) for one in found.get("Uploads", ()) if one["Key"] == key]

    def give_up(self, key: str, made_as: str) -> None:
        """Let the parts of an upload go. Repeatable."""
        try:
            self._ask("abort_multipart_upload", key, Key=key, UploadId=made_as)
        except GoneUploadError:
            return

    def _pages(self, prefix: str, *, after: str = "", at_once: int = 1000, **more: Any) -> Any:
        if after:
            more["StartAfter"] = after
        while True:
            page = self._ask("list_objects_v2", prefix, Prefix=prefix, MaxKeys=at_once, **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more["ContinuationToken"] = said_in(page, "NextContinuationToken")

    def _ask(self, call: str, about: str, **arguments: Any) -> Any:
        self._begun.at_s = self._silence.now_s()
        asking = self._silence.asking_once(refusals=_REFUSALS, nothing=_NOTHING)
        with as_os_errors(about), asking as self._begun.ask:
            return getattr(self._client, call)(Bucket=self.place.bucket, **arguments)

    def _send_in_pieces(self, request: Any, **_: Any) -> None:
        """Let each piece of a body that is taken be noted, not its end alone."""
        if hasattr(request.body, "read"):  # what is stored is; it has been signed by now
            request.body = _Sent(request.body, self._begun.ask.taken)

    def _refuse_late(self, **_: Any) -> None:
        """Refuse one more try of a request that was begun long ago; each try asks.

        Raises:
            ReadTimeoutError: as the last try may have ended.
        """
        if self._silence.now_s() - self._begun.at_s > LAST_TRY_S:
            raise ReadTimeoutError(endpoint_url=self.place.endpoint or "AWS")
