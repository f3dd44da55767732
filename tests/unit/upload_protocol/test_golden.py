"""The wire, literally: what a client or server of another version was built against.

A change here is a change of the protocol. It is meant, and in docs/protocol.md, or it is a fault.
"""

import pytest

from upload_protocol import digests, groups, headers, messages, problems, ranges
from upload_protocol.digests import Digest
from upload_protocol.headers import HeaderError, parse_content_range
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

PROBLEM_TABLE = """
malformed-request        400
idempotency-key-required 400
invalid-range            400
inconsistent-length      400
content-digest-mismatch  400 retryable
body-truncated           400 retryable
unauthorized             401
forbidden                403
device-mismatch          403
not-found                404
upload-not-found         404
unsupported-version      404
method-not-allowed       405
request-timeout          408 retryable
superseded               409 retryable
not-open                 409
ranges-missing           409
digest-mismatch          409
too-many-ranges          409
not-direct               409
device-claimed           409
command-refused          409
upload-expired           410
upload-aborted           410
length-required          411
precondition-failed      412
too-large                413
unsupported-media-type   415
misdirected-request      421
idempotency-key-reused   422
digest-required          422
invalid-name             422
invalid-command          422
upload-refused           422
headers-too-large        431
too-many-requests        429 retryable
internal                 500 retryable
server-busy              503 retryable
stopping                 503 retryable
storage-full             507 retryable
quota-exceeded           507 retryable
storage-failed           500 retryable
"""

DIGEST = "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:"


def test_every_problem_has_its_status_and_says_whether_trying_again_helps():
    wanted = {}
    for line in PROBLEM_TABLE.split("\n")[1:-1]:
        code, status, *more = line.split()
        wanted[code] = (int(status), more == ["retryable"])

    assert {code: (kind.status, kind.retryable) for code, kind in PROBLEMS.items()} == wanted


def test_every_problem_is_named_by_its_own_code_and_has_a_title_of_its_own():
    assert all(code == kind.code for code, kind in PROBLEMS.items())
    assert len({kind.title for kind in PROBLEMS.values()}) == len(PROBLEMS)
    assert PROBLEMS["stopping"].title == "The server is stopping"
    assert PROBLEMS["too-large"].uri == "urn:edge-uploader:problem:too-large"
    assert problems.CONTENT_TYPE == "application/problem+json"


def test_the_names_of_version_1_are_these():
    assert headers.PROTOCOL_VERSION == 1
    assert [
        headers.PROBE_PATH,
        headers.UPLOADS_PATH,
        headers.ROTATE_PATH,
        headers.CLAIM_PATH,
    ] == ["/v1", "/v1/uploads", "/v1/token/rotate", "/v1/claim"]
    assert [
        headers.IDEMPOTENCY_KEY,
        headers.CONTENT_RANGE,
        headers.CONTENT_DIGEST,
        headers.UPLOAD_OFFSET,
        headers.UPLOAD_LENGTH,
        headers.REQUEST_ID,
        headers.RETRY_AFTER,
    ] == [
        "Idempotency-Key",
        "Content-Range",
        "Content-Digest",
        "Upload-Offset",
        "Upload-Length",
        "X-Request-Id",
        "Retry-After",
    ]
    assert digests.SHA_256 == "sha-256"


def test_the_limits_of_version_1_are_these():
    assert ranges.MAX_RANGES == 1024
    assert ranges.MAX_OFFSET == 9_223_372_036_854_775_807
    assert problems.MAX_MISSING_RANGES == 64
    assert messages.MAX_METADATA_BYTES == 8192
    assert (groups.MAX_MEMBERS, groups.MAX_MISSING) == (1000, 200)
    assert (groups.MAX_NAME, groups.MAX_PARTS) == (4096, 1_000_000)
    assert groups.MAX_MANIFEST_BYTES == 1_048_576
    assert (
        frozenset({"open", "verifying", "publishing", "complete", "failed", "expired", "aborted"})
        == messages.STATES
    )


WRITTEN = [
    (
        Probe("n", (1,), "2026-11-21T00:05:06Z", Limits(5, 6), "cam"),
        {
            "protocols": [1],
            "nonce": "n",
            "now": "2026-11-21T00:05:06Z",
            "limits": {"max_length": 5, "max_request_bytes": 6},
            "device": "cam",
        },
    ),
    (
        CreateRequest("a.mp4"),
        {
            "name": "a.mp4",
            "folder": "",
            "length": None,
            "digest": None,
            "modified_at": None,
            "media_type": None,
            "metadata": {},
            "device": None,
        },
    ),
    (
        CreateRequest(
            "a.mp4", "100MEDIA", 7, Digest.of(b"x"), "then", "video/mp4", {"flight": "7"}, "cam"
        ),
        {
            "name": "a.mp4",
            "folder": "100MEDIA",
            "length": 7,
            "digest": DIGEST,
            "modified_at": "then",
            "media_type": "video/mp4",
            "metadata": {"flight": "7"},
            "device": "cam",
        },
    ),
    (CompleteRequest(0, None), {"length": 0, "digest": None}),
    (
        UploadStatus(
            "i", "cam", "a", "open", 10, RangeSet([ByteRange(0, 4), ByteRange(6, 8)]),
            Limits(), "later", Digest.of(b"x"), None,
        ),
        {
            "id": "i",
            "device": "cam",
            "name": "a",
            "state": "open",
            "length": 10,
            "received": [[0, 4], [6, 8]],
            "received_bytes": 6,
            "limits": {"max_length": None, "max_request_bytes": None},
            "expires_at": "later",
            "digest": DIGEST,
            "receipt": None,
            "ask_by_digest": False,
        },
    ),
    (
        Receipt("i", "cam", "a", 1, Digest.of(b"x"), "then", "none", "cam/a"),
        {
            "upload_id": "i",
            "device": "cam",
            "name": "a",
            "length": 1,
            "digest": DIGEST,
            "verified_at": "then",
            "verified_against": "none",
            "published_as": "cam/a",
        },
    ),
    (
        BlockDigests(4096, {7: Digest.of(b"x")}, 8),
        {"size": 4096, "blocks": {"7": Digest.of(b"x").hex}, "next": 8},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("value", "document"), WRITTEN)
def test_a_value_is_written_as_this_document_and_read_back_from_it(value, document):
    assert value.to_json() == document
    assert type(value).from_json(document) == value


def test_a_problem_is_written_as_this_document():
    full = Problem("a", 409, "A", "b", True, RangeSet([ByteRange(1, 2)]), "r")
    bare = Problem("a", 409, "A", "b", False)

    assert full.to_json("urn:x") == {
        "type": "urn:x",
        "title": "A",
        "status": 409,
        "code": "a",
        "detail": "b",
        "retryable": True,
        "missing": [[1, 2]],
        "request_id": "r",
    }
    assert set(full.to_json("urn:x")) - set(bare.to_json("urn:x")) == {"missing", "request_id"}
    assert Problem.from_json(bare.to_json("urn:x")) == bare


def test_of_a_problem_of_another_server_only_code_and_status_are_needed():
    assert Problem.from_json({"code": "a", "status": 400}) == Problem("a", 400, "", "", False)


def test_versions_that_are_no_numbers_are_passed_over():
    usual = WRITTEN[0][1]
    assert isinstance(usual, dict)
    document = {**usual, "protocols": [1, "2", 2.0, True, 3], "limits": None}

    found = Probe.from_json(document)

    assert found.protocols == (1, 3)
    assert found.limits == Limits(None, None)


ENDS = [
    (CreateRequest, {"name": "a"}, "length", [0, 2**63 - 1], [-1, 2**63, True, "1"]),
    (Limits, {}, "max_length", [0, 2**63 - 1], [-1, 2**63]),
    (CreateRequest, {"name": "a"}, "media_type", ["x" * 255], ["x" * 256, 5]),
    (CreateRequest, {"name": "a"}, "modified_at", ["x" * 255], ["x" * 256]),
    (CreateRequest, {"name": "a"}, "metadata", [{"k": "x" * 8191}], [{"k": "x" * 8192}]),
    (CreateRequest, {"name": "a"}, "metadata", [{"ä": "x" * 8190}], [{"ä": "x" * 8191}]),
    (CreateRequest, {"name": "a"}, "device", ["a" * 63], ["a" * 64]),
]


@pytest.mark.parametrize(("kind", "rest", "member", "good", "bad"), ENDS)
def test_a_member_is_taken_up_to_its_limit_and_no_further(kind, rest, member, good, bad):
    for value in good:
        assert getattr(kind.from_json({**rest, member: value}), member) == value
    for value in bad:
        with pytest.raises(MessageError, match=f"'{member}'"):
            kind.from_json({**rest, member: value})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"name": 5}, "'name' must be a string, not int"),
        ({"name": "a", "length": True}, "'length' must be a whole number, not bool"),
        ({"name": "a", "metadata": []}, "'metadata' must be an object, not list"),
        ({}, "'name' is missing"),
        ([], "a JSON object is needed, not list"),
        ({"name": "a", "digest": "md5"}, "'digest': not a digest field: 'md5'"),
    ],
)
def test_a_message_that_does_not_fit_is_told_by_its_member_and_its_form(document, said):
    with pytest.raises(MessageError) as caught:
        CreateRequest.from_json(document)

    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([[0, 2**63]], "an offset lies past the largest one: 9223372036854775807"),
        ([[0, True]], "offsets must be whole numbers: [0, True]"),
        ([[0.0, 1]], "offsets must be whole numbers: [0.0, 1]"),
        ([[1]], "not a pair of offsets: [1]"),
        (["ab"], "not a pair of offsets: 'ab'"),
        ([[3, 3]], "not a byte range: [3, 3)"),
        ([[-1, 3]], "not a byte range: [-1, 3)"),
    ],
)
def test_pairs_that_are_no_ranges_are_named(pairs, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is looked at below
        RangeSet.from_pairs(pairs)

    assert str(caught.value) == said


def test_the_largest_offset_is_one_that_can_be_told():
    assert RangeSet.from_pairs([[0, 2**63 - 1]]).total == 2**63 - 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bytes 5-4/10", "Content-Range ends (4) before it starts (5)"),
        ("bytes 0-10/10", "Content-Range ends at byte 10, past its own total of 10 bytes"),
        ("bytes 0-1/9223372036854775808", "Content-Range lies past the largest file offset"),
        ("bytes 0-9223372036854775807/*", "Content-Range lies past the largest file offset"),
        ("what", "Content-Range is 'what'; the form is 'bytes FIRST-LAST/TOTAL'"),
    ],
)
def test_a_range_that_cannot_be_is_told_with_its_numbers(text, said):
    with pytest.raises(HeaderError) as caught:
        parse_content_range(text)

    assert str(caught.value) == said


def test_the_last_byte_a_file_can_have_can_be_sent():
    found = parse_content_range("bytes 5-9223372036854775806/*")

    assert (found.where, found.total) == (ByteRange(5, 2**63 - 1), None)


def test_a_key_has_from_16_to_128_characters():
    assert [size for size in (15, 16, 128, 129) if headers.is_idempotency_key("k" * size)] == [
        16,
        128,
    ]


def test_two_digests_of_one_algorithm_are_read_as_the_last():
    other = str(Digest.of(b"y"))

    assert digests.parse_digest(f"{other}, {DIGEST}") == Digest.of(b"x")
