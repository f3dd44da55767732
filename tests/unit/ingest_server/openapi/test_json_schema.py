"""A message's class says what its schema is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import pytest

from ingest_server.openapi.json_schema import answer, or_null, request, schema_of
from upload_protocol.members import Length, Says


@dataclass
class Inner:
    count: int


@dataclass
class Message:
    name: str
    length: Length | None
    inner: Inner
    note: Annotated[str, Says(maxLength=9)] = ""


LENGTH = schema_of(Length)


def test_an_answer_has_every_member_and_null_where_there_is_none():
    found = answer(Message)

    assert found["required"] == ["name", "length", "inner", "note"]
    assert found["properties"]["length"] == or_null(LENGTH)
    assert found["properties"]["note"] == {"type": "string", "maxLength": 9}
    assert found["properties"]["inner"] == {"$ref": "#/components/schemas/Inner"}


def test_a_member_that_is_left_out_of_an_answer_is_never_null_in_it():
    found = answer(Message, left_out=("length",))

    assert found["required"] == ["name", "inner", "note"]
    assert found["properties"]["length"] == LENGTH


def test_a_request_may_do_without_what_has_a_default_or_may_be_none():
    found = request(Message)

    assert found["required"] == ["name", "inner"]
    assert found["properties"]["note"] == or_null({"type": "string", "maxLength": 9})


def test_the_server_adds_bounds_of_its_own_and_members_that_are_no_field():
    found = answer(Message, name={"minLength": 1}, total={"type": "integer"})

    assert found["properties"]["name"] == {"type": "string", "minLength": 1}
    assert found["required"][-1] == "total"


def test_the_values_of_an_enumeration_say_its_type():
    assert schema_of(Annotated[str, Says(enum=["a", "b"])]) == {"enum": ["a", "b"]}


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (tuple[str, ...], {"type": "array", "items": {"type": "string"}}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    ],
)
def test_many_of_a_kind(kind, schema):
    assert schema_of(kind) == schema


def test_a_kind_that_nobody_knows_is_a_bug():
    with pytest.raises(TypeError, match="complex"):
        schema_of(complex)
