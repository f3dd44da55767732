"""Messages: literal vectors, the way there and back, and what is refused."""

import json

import pytest

from upload_protocol.digests import Digest
from upload_protocol.messages import (
    BlockDigests,
    CompleteRequest,
    CreateRequest,
    Limits,
    MessageError,
    Probe,
    Problem,
    Receipt,
    UploadStatus,
)
from upload_protocol.problems import PROBLEMS
from upload_protocol.ranges import ByteRange, RangeSet

DIGEST = "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:"
ID = "0123456789abcdef0123456789abcdef"

CREATE = json.loads("""{
  "name": "DJI_0042.MP4", "folder": "100MEDIA", "length": 4123456789, "digest": null,
  "modified_at": "2026-11-21T00:05:06Z", "media_type": "video/mp4",
  "metadata": {"flight": "7"}, "device": "cam"
}""")
RECEIPT = json.loads(f"""{{
  "upload_id": "{ID}", "device": "cam", "name": "a.mp4", "length": 1, "digest": "{DIGEST}",
  "verified_at": "2026-11-21T00:05:06Z", "verified_against": "client",
  "published_as": "cam/2026-11-21/a.mp4"
}}""")
STATUS = json.loads(f"""{{
  "id": "{ID}", "device": "cam", "name": "a.mp4", "state": "open", "length": 10,
  "received": [[0, 4], [6, 8]], "received_bytes": 6,
  "limits": {{"max_length": null, "max_request_bytes": 1048576}},
  "expires_at": "2026-12-05T00:00:00Z", "digest": null, "receipt": null,
  "ask_by_digest": false
}}""")
PROBE = json.loads("""{
  "protocols": [1], "nonce": "n", "now": "2026-11-21T00:05:06Z",
  "limits": {"max_length": null, "max_request_bytes": null}, "device": "cam"
}""")
BLOCKS = {"size": 1048576, "blocks": {"0": "00" * 32, "7": "ff" * 32}, "next": None}


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (CreateRequest, CREATE),
        (CompleteRequest, {"length": 1, "digest": DIGEST}),
        (Receipt, RECEIPT),
        (UploadStatus, STATUS),
        (UploadStatus, {**STATUS, "state": "complete", "digest": DIGEST, "receipt": RECEIPT}),
        (UploadStatus, {**STATUS, "ask_by_digest": True}),
        (Probe, PROBE),
        (Limits, {"max_length": 5, "max_request_bytes": None}),
        (BlockDigests, BLOCKS),
    ],
)
def test_a_document_is_read_and_written_the_same(kind, document):
    assert kind.from_json(document).to_json() == document


@pytest.mark.parametrize("limit", ["max_request_bytes", "direct_part_bytes"])
def test_a_limit_that_lets_nothing_through_is_none(limit):
    with pytest.raises(MessageError, match=f"'{limit}' must be from 1 to"):
        Limits.from_json({"max_length": None, "max_request_bytes": None, limit: 0})


def test_members_of_a_newer_version_are_passed_over():
    assert Receipt.from_json({**RECEIPT, "signature": "x"}) == Receipt.from_json(RECEIPT)


def test_a_status_tells_what_is_held():
    assert UploadStatus.from_json(STATUS).received == RangeSet([ByteRange(0, 4), ByteRange(6, 8)])


@pytest.mark.parametrize(
    ("kind", "good", "change"),
    [
        (Receipt, RECEIPT, {"digest": None}),
        (Receipt, RECEIPT, {"digest": "sha-256=:AAAA:"}),
        (Receipt, RECEIPT, {"length": None}),
        (Receipt, RECEIPT, {"length": -1}),
        (Receipt, RECEIPT, {"length": True}),
        (Receipt, RECEIPT, {"length": 1.0}),
        (Receipt, RECEIPT, {"verified_against": "trust me"}),
        (UploadStatus, STATUS, {"state": "perhaps"}),
        (UploadStatus, STATUS, {"received": [[4, 0]]}),
        (UploadStatus, STATUS, {"received": [[0, 1, 2]]}),
        (UploadStatus, STATUS, {"received": "all"}),
        (UploadStatus, STATUS, {"id": None}),
        (CreateRequest, CREATE, {"name": None}),
        (CreateRequest, CREATE, {"device": "../cam"}),
        (CreateRequest, CREATE, {"metadata": {"a": 1}}),
        (CreateRequest, CREATE, {"metadata": {"a": "x" * 9000}}),
        (CreateRequest, CREATE, {"length": 2**63}),
        (Probe, PROBE, {"nonce": None}),
        (BlockDigests, BLOCKS, {"blocks": {"0": "zz"}}),
        (BlockDigests, BLOCKS, {"blocks": {"0": None}}),
        (BlockDigests, BLOCKS, {"blocks": {"x": "00" * 32}}),
    ],
)
def test_what_does_not_fit_is_refused(kind, good, change):
    with pytest.raises(MessageError):
        kind.from_json({**good, **change})


@pytest.mark.parametrize("document", [None, [], "text", 1])
def test_only_an_object_is_a_message(document):
    with pytest.raises(MessageError):
        UploadStatus.from_json(document)


def test_a_problem_carries_what_is_missing():
    kind = PROBLEMS["ranges-missing"]
    problem = Problem(
        kind.code, kind.status, kind.title, "2 bytes", kind.retryable, RangeSet([ByteRange(0, 2)])
    )

    assert Problem.from_json(problem.to_json(kind.uri)) == problem


def test_a_problem_without_a_code_is_none_of_ours():
    with pytest.raises(MessageError):
        Problem.from_json({"status": 409, "title": "Conflict"})


def test_every_problem_is_an_error_and_its_uri_names_it():
    for code, kind in PROBLEMS.items():
        assert 400 <= kind.status < 600
        assert kind.uri == f"urn:edge-uploader:problem:{code}"


def test_a_digest_in_a_message_is_the_one_that_was_written():
    request = CompleteRequest(1, Digest.of(b"x"))

    assert request.to_json() == {"length": 1, "digest": DIGEST}


def test_a_complete_says_what_the_file_is_called_and_when_it_was_written_only_where_it_is_told():
    more = {"duration_s": "2.000"}
    request = CompleteRequest(1, Digest.of(b"x"), "2026-11-29T08:00:00Z", "b.mp4", "", more)

    assert request.to_json() == {
        "length": 1,
        "digest": DIGEST,
        "modified_at": "2026-11-29T08:00:00Z",
        "name": "b.mp4",
        "folder": "",
        "metadata": {"duration_s": "2.000"},
    }
    assert CompleteRequest.from_json(request.to_json()) == request
