"""Digest fields by the letters of RFC 9530."""

import pytest

from upload_protocol.digests import Digest, DigestError, parse_digest

# RFC 9530, appendix B.1: the content {"hello": "world"} and a newline.
RFC_CONTENT = b'{"hello": "world"}\n'
RFC_FIELD = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"

# RFC 9530, appendix A: two algorithms in one field, section 3's example.
RFC_SHA_512 = (
    "sha-512=:YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCs"
    "yRZOtw8MjkM7iw7yZ/WkppmM44T3qg==:"
)


def test_the_digest_of_the_rfcs_example_is_the_rfcs():
    assert str(Digest.of(RFC_CONTENT)) == RFC_FIELD


def test_the_rfcs_field_is_read():
    assert parse_digest(RFC_FIELD) == Digest.of(RFC_CONTENT)


@pytest.mark.parametrize(
    "field", [f"{RFC_SHA_512}, {RFC_FIELD}", f"{RFC_FIELD},{RFC_SHA_512}", f"  {RFC_FIELD}  "]
)
def test_other_algorithms_and_spaces_are_passed_over(field):
    assert parse_digest(field) == Digest.of(RFC_CONTENT)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "sha-256",
        "sha-256=RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=",
        "sha-256=:AAAA:",
        "sha-256=:not base64!:",
        "sha-256=:RK_0qy18MlBSVnWgjwz6lZEWjP_lF5HF9bvEF8FabDg=:",
        RFC_SHA_512,
        f"{RFC_FIELD};",
        "sha-256=:" + "A" * 10_000 + ":",
    ],
)
def test_a_field_that_protects_nobody_is_refused(field):
    with pytest.raises(DigestError):
        parse_digest(field)


def test_the_digest_of_nothing_is_known():
    # What everybody's sha256sum says of an empty file.
    assert Digest.of(b"").hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_has_32_bytes(size):
    with pytest.raises(ValueError, match="32"):
        Digest(bytes(size))
