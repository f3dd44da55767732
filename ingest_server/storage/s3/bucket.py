"""One bucket, as few requests that say what they mean; the only module that knows boto3.

Every error leaves here as the `OSError` that fits. A request that a store refuses for the moment (503, SlowDown,
a connection that broke) has been tried again by then, with pauses.

Nothing is sent that clones of S3 are known to refuse: no checksum in a trailer, no chunked body. What is put
carries its MD5, so that the store itself refuses bytes that changed on the way.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import SharedCredentialProvider
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.httpsession import URLLib3Session

from edge_host.clock import SystemClock
from ingest_server.core.errors import AwayError
from ingest_server.storage.interface import Link
from ingest_server.storage.s3.place import Place
from ingest_server.storage.silence import Silence, SilentError
from upload_protocol.digests import Digest

CONNECT_S = 5.0
READ_S = 30.0
"""How long nothing may come of one try; a store that makes an object of thousands of parts takes its time."""
TRIES = 4
"""Of one request. After that the client is told, and comes again."""
LAST_TRY_S = 20.0
"""After so long no try follows another: a request ends soon after a store has fallen silent."""
SILENT_S = 10.0
"""Without any answer: longer than a part takes on a slow way."""
CONNECTIONS = 64
MOST_AT_ONCE = 1000
"""Keys in one request to delete."""


class TakenError(FileExistsError):
    """There is an object of that key, or it is not the one that was meant."""


class GoneUploadError(OSError):
    """The store does not know this multipart upload (any more): done, given up, or never begun."""


class UnknownCallError(OSError):
    """The store does not have this call."""


_CHECKSUM = "x-amz-checksum-sha256"
_NEW_CHECKSUMS = ("x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer")
_REFUSALS = (ClientError,)
_NOTHING = (ReadTimeoutError, ConnectTimeoutError)

_ABSENT = (FileNotFoundError, errno.ENOENT, "there is no such object")
_TAKEN = (TakenError, errno.EEXIST, "another object is there")
_FULL = (OSError, errno.ENOSPC, "the store is full ({code}: {message})")
_UNKNOWN = (UnknownCallError, errno.ENOSYS, "the store does not have this call")
_REFUSED = (
    AwayError,
    errno.EACCES,
    "the store's key may not do this ({message}): it needs to list, get, put and delete objects, "
    "and to list and abort uploads of parts",
)
_WRONG_KEY = (
    AwayError,
    errno.EACCES,
    "the store does not take the key ({code}): see [storage] credentials_file, or AWS_ACCESS_KEY_ID "
    "and AWS_SECRET_ACCESS_KEY",
)
_ELSEWHERE = (
    AwayError,
    errno.EINVAL,
    "the bucket is in another region ({message}): set [storage] region",
)
_AWAY = (OSError, errno.EBUSY, "the store of files is busy ({code})")
_CHANGED = (OSError, errno.EBADMSG, "the bytes changed on their way to the store ({code})")
_KINDS: Mapping[str, tuple[type[OSError], int, str]] = MappingProxyType(
    {
        "NoSuchKey": _ABSENT,
        "404": _ABSENT,
        "NotFound": _ABSENT,
        "PreconditionFailed": _TAKEN,
        "412": _TAKEN,
        "ConditionalRequestConflict": _TAKEN,
        "NoSuchUpload": (
            GoneUploadError,
            errno.ESTALE,
            "the store does not know this upload of parts",
        ),
        "NotImplemented": _UNKNOWN,
        "501": _UNKNOWN,
        "MethodNotAllowed": _UNKNOWN,
        "QuotaExceeded": _FULL,
        "InsufficientStorage": _FULL,
        "XMinioStorageFull": _FULL,
        "AccessDenied": _REFUSED,
        "403": _REFUSED,
        "InvalidAccessKeyId": _WRONG_KEY,
        "SignatureDoesNotMatch": _WRONG_KEY,
        "ExpiredToken": _WRONG_KEY,
        "RequestTimeTooSkewed": (
            AwayError,
            errno.EINVAL,
            "this machine's clock differs from the store's by more than that allows ({message}): set it",
        ),
        "NoSuchBucket": (
            AwayError,
            errno.EBUSY,
            "there is no such bucket: make it, or name another ([storage] blobs, or bucket of a [[route]])",
        ),
        "PermanentRedirect": _ELSEWHERE,
        "AuthorizationHeaderMalformed": _ELSEWHERE,
        "IllegalLocationConstraintException": _ELSEWHERE,
        **dict.fromkeys(
            ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout"), _AWAY
        ),
        **dict.fromkeys(("500", "502", "503", "504"), _AWAY),
        "BadDigest": _CHANGED,
        "XAmzContentSHA256Mismatch": _CHANGED,
    }
)
"""What is raised for an error of S3, by its code."""


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

    def __init__(self, body: Any, key: str) -> None:
        self._body = body
        self._key = key

    def read(self, length: int) -> bytes:
        """Return the next *length* bytes, fewer only at the end.

        Raises:
            OSError: the answer broke off.
        """
        with _as_os_errors(self._key):
            return bytes(self._body.read(length))

    def close(self) -> None:
        self._body.close()


class Bucket:
    """What is asked of the store; used from any thread."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._silence = Silence(SystemClock().now_s, silent_s=SILENT_S)
        self._begun = threading.local()
        self._client = self._connect(place.endpoint)
        events = self._client.meta.events
        events.register("request-created.s3", self._refuse_late)
        events.register("before-sign.s3.DeleteObjects", _with_md5_alone)
        self._signer = self._client
        """Makes links: what is signed is the host too."""
        if place.shown_endpoint is not None:
            self._signer = self._connect(place.shown_endpoint)

    def _connect(self, endpoint: str | None) -> Any:
        place = self.place
        session = botocore.session.Session()
        if place.credentials_file is not None:
            _use_key_of(session, place.credentials_file)
        with _as_os_errors("the store"):
            return boto3.Session(botocore_session=session).client(
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

    def beside(self, place: Place) -> Bucket:
        """Return another bucket of this store, by the same connections; closing this one closes them."""
        other = copy(self)
        other.place = place
        return other

    def close(self) -> None:
        self._client.close()
        self._signer.close()

    def link(self, key: str, wanted: Link) -> str:
        """Return a URL by which whoever has it may read an object; made here, without asking the store.

        Raises:
            OSError: there is no key to sign with.
        """
        asked = {
            "Bucket": self.place.bucket,
            "Key": key,
            "ResponseContentType": wanted.media_type,
            "ResponseContentDisposition": wanted.disposition,
        }
        with _as_os_errors(key):
            return str(
                self._signer.generate_presigned_url(
                    "get_object", asked, ExpiresIn=int(wanted.for_s)
                )
            )

    def put_link(
        self, key: str, size: int, digest: Digest, for_s: float, *, is_own: bool = False
    ) -> tuple[str, dict[str, str]]:
        """Return a URL by which whoever has it may store just these bytes, once; and the headers it needs.

        Their number and their SHA-256 are signed; made here, without asking the store.

        Args:
            is_own: it is for a request from here, not from a device.

        Raises:
            OSError: there is no key to sign with.
        """
        value = base64.b64encode(digest.value).decode("ascii")
        asked = {
            "Bucket": self.place.bucket,
            "Key": key,
            "ContentLength": size,
            "ChecksumSHA256": value,
            "IfNoneMatch": "*",
        }
        signer = self._client if is_own else self._signer
        with _as_os_errors(key):
            url = signer.generate_presigned_url("put_object", asked, ExpiresIn=int(for_s))
        return str(url), {_CHECKSUM: value, "if-none-match": "*"}

    def put_by_link(self, url: str, data: bytes, headers: Mapping[str, str]) -> int:
        """Store an object as a device does that was given a link; return the store's status.

        Raises:
            OSError: there is no answer.
        """
        session = URLLib3Session(timeout=READ_S)
        sent = AWSRequest("PUT", url, {**headers, "Content-Length": str(len(data))}, data)
        try:
            with _as_os_errors("the link"):
                return int(session.send(sent.prepare()).status_code)
        finally:
            session.close()

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
            int(_said(found, "ContentLength")),
            str(_said(found, "ETag")),
            _said(found, "LastModified"),
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
            ContentMD5=_md5(data if md5_of is None else md5_of),
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
        return Stream(self._ask("get_object", key, Key=key, Range=span, **more)["Body"], key)

    def get(self, stored: Listed, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)`` of an object that has them.

        Raises:
            OSError: the store does not give them all; it was asked twice.
        """
        if start == stop:
            return b""
        for _ in range(2):
            stream = self.stream(stored.key, start, stop, stored.etag)
            try:
                data = stream.read(stop - start)
            finally:
                stream.close()
            if len(data) == stop - start:
                return data
        raise OSError(errno.EIO, "the store's answer ended early", stored.key)

    def listed(self, prefix: str, *, after: str = "", at_once: int = 1000) -> Iterator[Listed]:
        """Yield the objects whose keys begin with *prefix*, in their order, from past *after* on."""
        for page in self._pages(prefix, after=after, at_once=at_once):
            for one in page.get("Contents", ()):
                yield Listed(str(one["Key"]), int(one["Size"]), str(_said(one, "ETag")))

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
                raise _error_of(str(failed.get("Code")), str(failed.get("Message")), failed["Key"])

    def begin(self, key: str, facts: Mapping[str, str]) -> str:
        """Begin to make an object of parts; return what the store calls that."""
        return str(
            _said(
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
            ContentMD5=_md5(data),
        )
        return str(_said(found, "ETag"))

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
            more["ContinuationToken"] = _said(page, "NextContinuationToken")

    def _ask(self, call: str, about: str, **arguments: Any) -> Any:
        self._begun.at_s = self._silence.now_s()
        with _as_os_errors(about), self._silence.asking_once(refusals=_REFUSALS, nothing=_NOTHING):
            return getattr(self._client, call)(Bucket=self.place.bucket, **arguments)

    def _refuse_late(self, **_: Any) -> None:
        """Refuse one more try of a request that was begun long ago; each try asks.

        Raises:
            ReadTimeoutError: as the last try may have ended.
        """
        if self._silence.now_s() - self._begun.at_s > LAST_TRY_S:
            raise ReadTimeoutError(endpoint_url=self.place.endpoint or "AWS")


def _with_md5_alone(request: Any, **_: Any) -> None:
    """Let a request say its MD5 and no newer checksum: S3 and all clones take that, and some want it."""
    for name in [one for one in request.headers if one.lower().startswith(_NEW_CHECKSUMS)]:
        del request.headers[name]
    request.headers["Content-MD5"] = _md5(request.body)


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


@contextmanager
def _as_os_errors(about: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        raise _error_of(str(said.get("Code")), str(said.get("Message")), about) from error
    except SilentError:
        raise OSError(errno.EBUSY, "it says nothing, and one request tries it already") from None
    except NoCredentialsError as error:
        raise AwayError(
            errno.EACCES,
            "no key for the store was found: set [storage] credentials_file, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY",
            about,
        ) from error
    except (ConnectTimeoutError, EndpointConnectionError) as error:
        said = "nobody answers there: see [storage] endpoint, and whether the store runs"
        raise OSError(errno.EBUSY, said, about) from error
    except HTTPClientError as error:
        said = f"the way to the store broke ({' '.join(str(error).split())})"
        raise OSError(errno.EBUSY, said, about) from error
    except BotoCoreError as error:
        said = " ".join(str(error).split())  # some are several lines
        raise OSError(errno.EIO, f"asking the store failed ({said})", about) from error


def _said(answer: Mapping[str, Any], name: str) -> Any:
    """Return what a store has to say in an answer.

    Raises:
        OSError: it does not.
    """
    if name not in answer:
        said = f"the store's answer has no {name}, without which this server cannot use it"
        raise OSError(errno.EPROTO, said)
    return answer[name]


def _error_of(code: str, message: str, about: str) -> OSError:
    kind, number, words = _KINDS.get(
        code, (OSError, errno.EIO, "the store answered {code}: {message}")
    )
    return kind(number, words.format(code=code, message=message), about)


def _md5(data: bytes | bytearray) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")
