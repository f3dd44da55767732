"""What is said of bytes that go straight to the store, as it is on the wire."""

from __future__ import annotations

import pytest

from upload_protocol.digests import Digest
from upload_protocol.direct import MAX_PARTS, PartsDone, PartsRequest, SignedPart, SignedParts
from upload_protocol.members import MessageError
from upload_protocol.ranges import ByteRange

DIGEST = str(Digest.of(b"abc"))
ASKED = {"range": [8, 11], "digest": DIGEST}
SENT = {**ASKED, "part": "000-1"}
SIGNED = {**SENT, "url": "https://s3.example/b/k?X=1", "headers": {"x-amz-checksum-sha256": "v"}}


def test_each_message_is_on_the_wire_as_the_protocol_says():
    asked, done = PartsRequest.from_json({"parts": [ASKED]}), PartsDone.from_json({"parts": [SENT]})
    signed = SignedParts.from_json({"parts": [SIGNED], "expires_in_s": 900})

    assert asked.parts[0].range == ByteRange(8, 11)
    assert asked.to_json() == {"parts": [ASKED]}
    assert done.to_json() == {"parts": [SENT]}
    assert signed.to_json() == {"parts": [SIGNED], "expires_in_s": 900}
    assert signed.parts[0].sent == done.parts[0]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [ASKED] * (MAX_PARTS + 1),
        [{"range": [8, 8], "digest": DIGEST}],
        [{"range": [-1, 8], "digest": DIGEST}],
        [{"range": [0, True], "digest": DIGEST}],
        [{"range": [0, 1 << 63], "digest": DIGEST}],
        [{"range": [0], "digest": DIGEST}],
        [{"range": [0, 8]}],
        "all",
    ],
)
def test_what_is_no_list_of_parts_is_refused(parts):
    with pytest.raises(MessageError):
        PartsRequest.from_json({"parts": parts})


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a" * 201, 7])
def test_what_no_server_calls_a_part_is_refused(name):
    with pytest.raises(MessageError):
        PartsDone.from_json({"parts": [{**SENT, "part": name}]})


@pytest.mark.parametrize(
    "more",
    [
        {"url": "https://s3.example/a b"},
        {"url": "https://s3.example/\n"},
        {"url": "https://s3.example/" + "a" * 4096},
        {"headers": {"authorization": "Bearer x"}},
        {"headers": {"host": "elsewhere"}},
        {"headers": {"content-length": "1"}},
        {"headers": {"x-amz-acl": "a\r\nhost: b"}},
        {"headers": {f"x-{count}": "v" for count in range(17)}},
    ],
)
def test_an_answer_that_asks_for_more_than_a_put_of_these_bytes_is_refused(more):
    with pytest.raises(MessageError):
        SignedPart.from_json({**SIGNED, **more})
