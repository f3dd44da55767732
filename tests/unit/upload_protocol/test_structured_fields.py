"""Structured fields by the letters of RFC 8941."""

import contextlib
import time

import pytest

from upload_protocol.digests import Digest, find_digests, parse_digest
from upload_protocol.structured_fields import FieldError, Item, parse_dictionary, parse_item

SUM = str(Digest.of(b"x"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0042", -42),
        ("999999999999999", 10**15 - 1),
        ("4.5", 4.5),
        ("?1", True),
        ("?0", False),
        ('"hello \\"world\\""', 'hello "world"'),
        ("foo123/456", "foo123/456"),
        (":cHJldGVuZA==:", b"pretend"),
        (":cHJldGVuZA:", b"pretend"),
        (" 5 ", 5),
    ],
)
def test_an_item_is_its_value(text, value):
    assert parse_item(text) == Item(value)


def test_parameters_stand_beside_the_value():
    assert parse_item("?1;a; b=?0;c=:AA==:") == Item(True, {"a": True, "b": False, "c": b"\0"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1000000000000000",
        "4.",
        "4.1234",
        "--1",
        "?2",
        "?",
        ":AA",
        ":A:",
        ":A-:",
        '"open',
        '"\\x"',
        '"é"',
        "5 6",
        "5,6",
        "5;",
        "٣",
        "1_0",
    ],
)
def test_what_is_no_item_is_refused(text):
    with pytest.raises(FieldError):
        parse_item(text)


def test_a_dictionary_has_members_of_every_kind_and_of_a_key_the_last():
    found = parse_dictionary('a=(1 "b";c);d , e, f=1.5\t,\ta=2')

    assert found == {"e": Item(True), "f": Item(1.5), "a": Item(2)}
    assert parse_dictionary('a=(1 "b";c);d')["a"] == Item(
        (Item(1), Item("b", {"c": True})), {"d": True}
    )
    assert parse_dictionary("") == {}


@pytest.mark.parametrize(
    "text", ["a=1,", ",a=1", "A=1", "a=1 b=2", "a=(1", "a=(1,2)", "a=", "a=(1(2))"]
)
def test_what_is_no_dictionary_is_refused(text):
    with pytest.raises(FieldError):
        parse_dictionary(text)


@pytest.mark.parametrize(
    "field", [f"{SUM};now=1", f"unixsum=30637, {SUM}", f"md5;x, {SUM}", f"a=(1 2), {SUM}"]
)
def test_a_digest_is_found_beside_what_nobody_knows(field):
    assert parse_digest(field) == Digest.of(b"x")


def test_every_known_algorithm_of_a_field_is_found():
    both = "sha-512=:" + "A" * 86 + "==:, " + SUM

    found = find_digests(both, ("sha-256", "sha-512"))

    assert found == {"sha-256": Digest.of(b"x").value, "sha-512": bytes(64)}


@pytest.mark.parametrize("piece", ["a=(", "a;", '"', "\\", ":", ",", " ", "a=:", "(", "a, "])
def test_a_long_field_costs_no_more_than_its_length(piece):
    def took_s(size: int) -> float:
        began = time.thread_time()  # of this thread: how busy the machine is says nothing
        for read in (parse_item, parse_dictionary):
            with contextlib.suppress(FieldError):
                read("a=" + piece * size)
        return time.thread_time() - began

    # Of what grows with the square, 64 times as much takes 4096 times as long.
    assert took_s(32_000) < 500 * max(took_s(500), 20e-6)
