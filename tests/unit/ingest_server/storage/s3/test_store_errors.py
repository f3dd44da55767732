"""What a store refuses leaves as the `OSError` that fits, with a sentence that says what to do."""

import errno

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from ingest_server.core.errors import AwayError
from ingest_server.storage.s3.store_errors import (
    GoneUploadError,
    TakenError,
    UnknownCallError,
    as_os_errors,
    said_in,
)
from ingest_server.storage.silence import SilentError


def raised(error):
    try:
        with as_os_errors("a/key"):
            raise error
    except OSError as found:
        return found


@pytest.mark.parametrize(
    ("code", "kind", "number"),
    [
        ("NoSuchKey", FileNotFoundError, errno.ENOENT),
        ("PreconditionFailed", TakenError, errno.EEXIST),
        ("NoSuchUpload", GoneUploadError, errno.ESTALE),
        ("NotImplemented", UnknownCallError, errno.ENOSYS),
        ("XMinioStorageFull", OSError, errno.ENOSPC),
        ("AccessDenied", AwayError, errno.EACCES),
        ("SlowDown", OSError, errno.EBUSY),
        ("OperationAborted", OSError, errno.EBUSY),
        ("InvalidToken", AwayError, errno.EACCES),
        ("KMS.DisabledException", AwayError, errno.EACCES),
        ("BadDigest", OSError, errno.EBADMSG),
        ("SomethingNew", OSError, errno.EIO),
    ],
)
def test_each_code_is_the_error_of_its_kind(code, kind, number):
    said = {"Error": {"Code": code, "Message": "in its own words"}}

    found = raised(ClientError(said, "PutObject"))

    assert (type(found), found.errno, found.filename) == (kind, number, "a/key")


@pytest.mark.parametrize(
    ("status", "kind", "number", "words"),
    [
        (301, AwayError, errno.EINVAL, "set [storage] region"),
        (307, AwayError, errno.EINVAL, "set [storage] region"),
        (400, OSError, errno.EIO, "SomethingNew: in its own words"),
        (401, AwayError, errno.EACCES, "refuses this server (SomethingNew: in its own words)"),
        (403, AwayError, errno.EACCES, "refuses this server (SomethingNew: in its own words)"),
        (429, OSError, errno.EBUSY, "busy (SomethingNew)"),
        (500, OSError, errno.EBUSY, "busy (SomethingNew)"),
        (501, UnknownCallError, errno.ENOSYS, "does not have this call"),
        (503, OSError, errno.EBUSY, "busy (SomethingNew)"),
        (507, OSError, errno.ENOSPC, "full (SomethingNew: in its own words)"),
    ],
)
def test_a_code_that_nobody_knows_is_judged_by_its_status(status, kind, number, words):
    said = {
        "Error": {"Code": "SomethingNew", "Message": "in its own words"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }

    found = raised(ClientError(said, "PutObject"))

    assert (type(found), found.errno) == (kind, number)
    assert words in str(found)


@pytest.mark.parametrize(
    ("error", "number", "words"),
    [
        (NoCredentialsError(), errno.EACCES, "set [storage] credentials_file"),
        (EndpointConnectionError(endpoint_url="x"), errno.EBUSY, "see [storage] endpoint"),
        (SilentError(), errno.EBUSY, "it says nothing"),
    ],
)
def test_what_never_reached_the_store_says_so(error, number, words):
    found = raised(error)

    assert found.errno == number
    assert words in str(found)


def test_an_answer_without_what_it_has_to_say_is_an_error_of_the_protocol():
    with pytest.raises(OSError, match="has no ETag") as found:
        said_in({}, "ETag")

    assert found.value.errno == errno.EPROTO
