"""Where HTTP's inclusive positions meet half-open ranges."""

import pytest

from upload_protocol.headers import (
    ContentRange,
    HeaderError,
    blocks_path,
    complete_path,
    content_path,
    is_device_id,
    is_idempotency_key,
    is_upload_id,
    parse_content_range,
    upload_path,
)
from upload_protocol.ranges import ByteRange


@pytest.mark.parametrize(
    ("text", "start", "stop", "total"),
    [
        ("bytes 0-0/1", 0, 1, 1),
        ("bytes 42-1233/1234", 42, 1234, 1234),
        ("bytes 42-1233/*", 42, 1234, None),
        ("bytes 0-9223372036854775805/9223372036854775806", 0, 2**63 - 2, 2**63 - 2),
    ],
)
def test_a_content_range_is_read_and_written_the_same(text, start, stop, total):
    found = parse_content_range(text)

    assert found == ContentRange(ByteRange(start, stop), total)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes",
        "bytes 0-1",
        "bytes */10",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes -1-5/10",
        "bytes 0-1/10\n",
        "bytes 0-1/10, bytes 2-3/10",
        "items 0-1/10",
        "bytes 0-99999999999999999999/*",
        "bytes 0-9223372036854775807/*",
        "bytes \u0660-\u0661/10",
    ],
)
def test_what_is_no_single_range_is_refused(text):
    with pytest.raises(HeaderError):
        parse_content_range(text)


def test_the_paths_are_the_published_ones():
    assert upload_path("a") == "/v1/uploads/a"
    assert content_path("a") == "/v1/uploads/a/content"
    assert complete_path("a") == "/v1/uploads/a/complete"
    assert blocks_path("a") == "/v1/uploads/a/blocks"


@pytest.mark.parametrize("name", ["cam", "0", "cam-1_b", "a" * 63])
def test_a_device_id_that_is_safe_everywhere_passes(name):
    assert is_device_id(name)


@pytest.mark.parametrize(
    "name", ["", "-a", "_a", "Cam", "a/b", "a+b", "a#", "a.b", "ä", "a" * 64, "a\n", "a b", ".."]
)
def test_a_device_id_that_means_something_to_a_path_or_a_topic_does_not(name):
    assert not is_device_id(name)


def test_keys_and_ids_have_their_form():
    assert is_idempotency_key("0123456789abcdef")
    assert not is_idempotency_key("short")
    assert not is_idempotency_key("0123456789abcdef\r\n")
    assert is_upload_id("0" * 32)
    assert not is_upload_id("0" * 31)
    assert not is_upload_id("A" * 32)
    assert not is_upload_id("../" + "0" * 29)
