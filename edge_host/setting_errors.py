"""What is wrong with a configuration, in sentences of one form: where it stands, which key, what would be right.

``agent.toml: [upload] max_rate must be a size such as "8MiB" or "500KB"``. Both programs say it so. A sentence
never holds the value itself, which may be a secret in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from edge_host.settings import Key, Layers, nearest, shown, suggestion

_PLAINLY = MappingProxyType(
    {
        "missing": "must be set",
        "string_type": "must be text in quotes",
        "path": "must be a path in quotes",
        "bool": "must be true or false",
        "float": "must be a number",
        "finite_number": "must be a finite number",
        "int": "must be a whole number",
        "tuple_type": 'must be a list of texts, such as ["a", "b"]',
        "dict_type": 'must be a table of texts, such as {{site = "north"}}',
        "byte": 'must be a size such as "8MiB" or "500KB"',
        "model": "is a table: write its keys below [{key}]",
    }
)
"""Pydantic's words where a person needs others: by its type of error, or the first word of that."""

_PREDICATE = re.compile(r"(must|is|are|has|needs|says|ends)\b")


def said_of(what: str, text: str) -> str:
    """Return a sentence about a key or a table, whether or not *text* can follow its name directly."""
    return f"{what} {text}" if _PREDICATE.match(text) else f"{what}: {text}"


class SettingErrors:
    """Makes the sentences for one program.

    Args:
        rows: the lists of tables, and what each of their tables is.
        file: what is named where nothing is known of a value's origin.
        required: the keys that have no default.
    """

    def __init__(
        self,
        layers: Layers,
        rows: Mapping[str, type[BaseModel]],
        file: str,
        required: Collection[Key] = (),
    ) -> None:
        self._layers = layers
        self._rows = rows
        self._file = file
        self._required = required

    def sentences(self, errors: Iterable[ErrorDetails]) -> list[str]:
        return [self._sentence(one) for one in errors]

    def meant(self, key: Key, among: Collection[Key] = (), *, as_variable: bool = False) -> str:
        """Return the end of a sentence about a key that is not there: which one was probably meant."""
        layers = self._layers
        known = [".".join(one) for one in among or (*layers.keys, *layers.tables)]
        match = nearest(".".join(key), known)
        if match is None:
            # A key without its table, or in the wrong one.
            match = next((one for one in known if one.rpartition(".")[2] == key[-1]), None)
        if match is None:
            return ""
        found = tuple(match.split("."))
        return suggestion(layers.variable(found) if as_variable else shown(found))

    def _sentence(self, error: ErrorDetails) -> str:
        layers, table = self._layers, error["loc"][0]
        if table in self._rows and len(error["loc"]) > 1:
            if isinstance(layers.values[str(table)], list):
                return self._of_row(error)
            error = {**error, "loc": (table, *error["loc"][2:])}  # it is one table
        key = tuple(part for part in error["loc"] if isinstance(part, str) and "[" not in part)
        if error["type"] == "missing":
            return f"{self._missing(key)} (in {self._file}, as a variable or as an option)"
        if error["type"] == "extra_forbidden":
            return f"{layers.origin(key)}: there is no key {shown(key)}{self.meant(key)}"
        known = key
        while known and known not in layers.keys and known not in layers.tables:
            known = known[:-1]  # pydantic adds the branch of a union, the index of a list
        place = layers.origin(known) or self._file
        if error["type"] == "tuple_type" and key[0] in self._rows and len(key) == 1:
            return (
                f"{place}: there may be several of {key[0]}: write each one below a line [[{key[0]}]],"
                " with two brackets"
            )
        return f"{place}: {said_of(shown(known), _wrong(error))}"

    def _of_row(self, error: ErrorDetails) -> str:
        table, index, *rest = error["loc"]
        name = next((one for one in rest if isinstance(one, str)), None)
        row = self._layers.values[str(table)][int(index)]
        row_name = str(row.get("name")) if isinstance(row, dict) else ""
        origin = self._layers.origin((str(table), row_name, name or ""))
        place = f"{origin or self._file}: [[{table}]] number {int(index) + 1}"
        if error["type"] == "extra_forbidden" and name is not None:
            meant = suggestion(nearest(name, list(self._rows[str(table)].model_fields)))
            return f"{place}: there is no key {shown((name,))}{meant}"
        if name is None:
            return said_of(place, _wrong({**error, "loc": (f"[{table}]",)}))
        return f"{place}: {said_of(name, _wrong(error))}"

    def _missing(self, key: Key) -> str:
        if key in self._layers.tables:
            needed = [
                ".".join(one)
                for one in self._layers.keys
                if one[: len(key)] == key and one in self._required
            ]
            return f"{' and '.join(needed)} must be set"
        return f"{shown(key)} must be set"


def _wrong(error: ErrorDetails) -> str:
    """Return what is wrong with a value, or what it has to be."""
    text = _PLAINLY.get(error["type"]) or _PLAINLY.get(error["type"].partition("_")[0])
    if text is not None:
        return text.format(key=".".join(str(part) for part in error["loc"]))
    text = error["msg"].removeprefix("Value error, ").rstrip(".")
    return re.sub(r"^input should be ", "must be ", text[:1].lower() + text[1:])
