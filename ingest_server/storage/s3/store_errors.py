"""What a store refuses, and what becomes of a request to it, as the `OSError` that fits."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
)

from ingest_server.core.errors import AwayError
from ingest_server.storage.silence import SilentError


class TakenError(FileExistsError):
    """There is an object of that key, or it is not the one that was meant."""


class GoneUploadError(OSError):
    """The store does not know this multipart upload (any more): done, given up, or never begun."""


class UnknownCallError(OSError):
    """The store does not have this call."""


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
_SAID_NO = (
    AwayError,
    errno.EACCES,
    "the store refuses this server ({code}: {message}): see to the bucket and its key",
)
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
        **dict.fromkeys(("ExpiredToken", "InvalidToken", "TokenRefreshRequired"), _WRONG_KEY),
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
        "InvalidObjectState": (
            AwayError,
            errno.EACCES,
            "the object is in an archive of the store ({message}): restore it, and let no rule of the bucket move "
            "what the server has not verified",
        ),
        "PermanentRedirect": _ELSEWHERE,
        "AuthorizationHeaderMalformed": _ELSEWHERE,
        "IllegalLocationConstraintException": _ELSEWHERE,
        **dict.fromkeys(
            ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout"), _AWAY
        ),
        "OperationAborted": _AWAY,
        **dict.fromkeys(("500", "502", "503", "504"), _AWAY),
        "BadDigest": _CHANGED,
        "XAmzContentSHA256Mismatch": _CHANGED,
    }
)
"""What is raised for an error of S3, by its code."""


@contextmanager
def as_os_errors(about: str) -> Iterator[None]:
    """Let what goes wrong with a request about *about* leave as the error that fits.

    Raises:
        OSError: its number and its class say what a caller may do, its words what an operator may.
    """
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise error_of(str(said.get("Code")), str(said.get("Message")), about, status) from error
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


def said_in(answer: Mapping[str, Any], name: str) -> Any:
    """Return what a store has to say in an answer.

    Raises:
        OSError: it does not.
    """
    if name not in answer:
        said = f"the store's answer has no {name}, without which this server cannot use it"
        raise OSError(errno.EPROTO, said)
    return answer[name]


def error_of(code: str, message: str, about: str, status: int = 0) -> OSError:
    """Return what is raised for an error of a store; one whose code nobody knows is judged by its status."""
    kind, number, words = _KINDS.get(code) or _unknown(code, status)
    return kind(number, words.format(code=code, message=message), about)


def _unknown(code: str, status: int) -> tuple[type[OSError], int, str]:
    if 300 <= status < 400:
        return _ELSEWHERE
    if status in {401, 403} or code.startswith("KMS."):
        return _SAID_NO
    if status in {501, 507}:
        return _UNKNOWN if status == 501 else _FULL
    if status == 429 or status >= 500:
        return _AWAY
    return OSError, errno.EIO, "the store answered {code}: {message}"
