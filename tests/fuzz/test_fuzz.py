"""Any bytes at all, and bytes near those that are right: refused or taken, never a crash or a hang.

A finding goes into the corpus as a file: `corpus/<target>/<what it is>`.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, read_chunked
from tests.support.examples import examples

CORPUS = Path(__file__).parent / "corpus"
QUICK = settings(
    max_examples=examples(150),
    deadline=1000,  # ms for one input: a parser that takes longer hangs
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MANY = settings(QUICK, max_examples=examples(1000))

PIECES = {
    "content_range": (b"bytes ", b"0-", b"9", b"/", b"*", b"-", b"18446744073709551616", b" "),
    "digest": (b"sha-256=", b":", b"=", b"A", b",", b"md5=:AAAA:", b" ", b"\xff"),
    "request_head": (
        b"GET / HTTP/1.1\r\n",
        b"Host: x\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n",
        b"\n",
        b" folded\r\n",
        b"X_Y: 1\r\n",
        b"A: \x00\r\n",
        b":",
    ),
    "chunked_body": (b"0\r\n", b"5\r\nhello\r\n", b"\r\n", b"\n", b"ffff", b";x=y", b"A: b\r\n"),
    "tus_metadata": (b"filename ", b"ZA==", b",", b" ", b"=", b"\xc3", b"-"),
    "structured_fields": (b"?1", b"12", b";a=b", b"sha-256=:", b":", b"(", b")", b'"', b"\\", b", ", b"."),
    "disposition": (b";", b"filename", b"*", b"=", b'"', b"\\", b"UTF-8''%", b"idna''", b"C:\\", b"\xe9"),
    "whole_number": (b"0", b"9", b"9223372036854775807", b"-", b"+", b"_", b"\xb2", b" "),
    "url": (b"http:", b"//", b"[", b"]", b"/files/", b"?", b"#", b"@", b":99999"),
    "messages": (b'{"name":', b'"x"', b',"length":', b"1e9", b"[", b"]", b"}", b"null", b'"\\ud800"'),
    "ranges": (b"[", b"]", b"0", b",", b"5", b"-1", b"1.5", b"true", b"9223372036854775808"),
    "name": (b".\x00", b"/\x00", b"\x00\xd8", b"\x2e\x20", b"a\x00", b"\x00\x00"),
    "address": (b"127.0.0.1", b":", b"[", b"]", b"::1", b"unix:", b"99999", b"\xb2"),
}  # fmt: skip


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Bytes, what the grammar is made of in any order, and a stored input with a piece replaced."""
    stored = [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]
    pieces = st.lists(st.sampled_from(PIECES[target]) | st.binary(max_size=8), max_size=30)

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(stored))
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 8)))
        return data[:start] + b"".join(draw(pieces)[:3]) + data[stop:]

    return st.binary(max_size=300) | pieces.map(b"".join) | mutated()


@pytest.mark.parametrize("target", TARGETS)
def test_a_parser_takes_or_refuses_whatever_comes(target):
    QUICK(given(inputs(target))(TARGETS[target]))()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("target", TARGETS)
def test_a_parser_takes_or_refuses_whatever_comes_for_longer(target):
    MANY(given(inputs(target))(TARGETS[target]))()


@QUICK
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_a_chunked_body_is_whole_only_with_its_last_byte_and_a_cut_one_is_a_prefix(chunks, data):
    sent = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"
    cut = data.draw(st.integers(0, len(sent)))

    found, is_whole = read_chunked(sent[:cut])

    assert b"".join(chunks).startswith(found)
    assert is_whole == (cut == len(sent))
    assert not is_whole or found == b"".join(chunks)
