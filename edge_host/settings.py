"""Settings in layers: the file, over it the environment, over it the command line, over the defaults.

Each value remembers where it came from, so that what is wrong with it can be said in one sentence that
a person can act on: which key, from which file, variable or option, and what would be right. Messages
never hold the value itself: it may be a secret in the wrong place.

pydantic-settings says nothing about a missing file, about misspelt variables, or about where a wrong
value came from. What is said of a value is in `edge_host.setting_errors`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

Key = tuple[str, ...]
Place = Callable[[Key, str, Path], str]
"""Given a key, its text in a file and that file's folder, returns the text that counts."""


class Table(BaseModel):
    """Frozen, strict about keys, and silent about values: a secret typed in the wrong place stays one."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _no_flag_for_a_number(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        """Refuse ``max_rate = true``, which Python takes for 1."""
        found = handler(value)
        if (
            isinstance(value, bool)
            and isinstance(found, int | float)
            and not isinstance(found, bool)
        ):
            raise ValueError("must be a number, not true or false")  # noqa: TRY004 # pydantic's protocol
        return found


class LayeredSettings(BaseSettings):
    """The settings of a program: made of `Layers`, not by what pydantic-settings would look for."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """Marks a list of tables that may be one table as well: ``[watch]``, or ``[[watch]]`` each time.

    Each row has a short name under the key *by*, which says in an option which of several is meant.
    """

    by: str = "name"


_CLASH_LINE = re.compile(r"\(at line (\d+), column")
_KEY_OF_LINE = re.compile(r"\s*([\w.\"'-]{1,60})\s*=|\s*(\[{1,2}[\w.\"' -]{1,60}\]{1,2})", re.ASCII)


def _clashing_key(path: Path, error: tomllib.TOMLDecodeError) -> str:
    """Return which key of a TOML file is there twice, as an end of the sentence; else nothing.

    The parser names the place alone. Only what is a key or the head of a table is shown: behind it may
    stand a secret.
    """
    if not str(error).startswith("Cannot "):
        return ""
    place = _CLASH_LINE.search(str(error))
    with suppress(OSError, IndexError):
        lines = path.read_bytes().decode("utf-8", "replace").rstrip().splitlines()
        found = _KEY_OF_LINE.match(lines[int(place[1]) - 1 if place is not None else -1])
        if found is not None:
            return f"; {found[1] or found[2]} clashes with what stands above it"
    return ""


_EMPTY = "is empty, and no path: leave it out"


class Layers:
    """The merged values, and each one's origin in words. Layers are added from the bottom up."""

    def __init__(
        self, model: type[LayeredSettings], error: Callable[[list[str]], Exception]
    ) -> None:
        self.values: dict[str, Any] = {}
        self.problems: list[str] = []
        """Sentences about what set nothing at all."""
        self._model = model
        self._error = error
        self._origins: dict[Key, str] = {}
        self.keys = tuple(_keys(model))
        """Each key that a person can set; a list of tables is one key."""
        self.tables = {key[:-1] for key in self.keys if len(key) > 1}
        self.rows: dict[Key, _Rows] = {(name,): row for name, row in _rows(model)}
        """The key of each list that may be one table -> what such a table is."""
        self._prefix = str(model.model_config["env_prefix"])
        self._paths = frozenset(path_keys(model))

    def origin(self, key: Key) -> str | None:
        """Return where the value of *key* came from, or the first one below it, or the one it lies in."""
        below = [where for one, where in self._origins.items() if one[: len(key)] == key]
        above = [self._origins.get(key[:length]) for length in range(len(key), 0, -1)]
        return next((where for where in (above[0], *below, *above[1:]) if where), None)

    def add_file(self, path: Path, place: Place, *, may_be_absent: bool = False) -> bool:
        """Add what the TOML file says; return whether there is one.

        Raises:
            Exception: `error`, whose one sentence says why it cannot be read.
        """
        document = self._read(path, may_be_absent)
        if document is None:
            return False
        folder = path.absolute().parent
        placed = _each_text(document, lambda key, text: place(key, text, folder))
        for key, value in self._leaves(placed):
            self.add(key, value, str(path))
        return True

    def _read(self, path: Path, may_be_absent: bool) -> dict[str, Any] | None:
        try:
            return tomllib.loads(path.read_bytes().decode("utf-8"))
        except FileNotFoundError:
            if may_be_absent:
                return None
            problem = f"the configuration file {path} does not exist"
        except IsADirectoryError:
            problem = f"the configuration file {path} is a folder"
        except OSError as error:
            problem = f"the configuration file {path} cannot be read: {error.strerror}"
        except UnicodeDecodeError as error:
            problem = f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8"
        except tomllib.TOMLDecodeError as error:
            problem = f"{path}: not valid TOML: {error}{_clashing_key(path, error)}"
        raise self._error([problem])

    def add_environment(
        self,
        environment: Mapping[str, str],
        *,
        keys: Collection[Key],
        place: Callable[[Key, str], str],
        unknown: Callable[[str, Key], str],
    ) -> None:
        """Add what the variables with our prefix say, in any case of letters.

        Args:
            keys: which of them a variable may set.
            unknown: returns the sentence about a variable that sets none, with the key that it means.
        """
        names = {self.variable(key): key for key in keys}
        for variable, text in sorted(environment.items()):
            name = variable.upper()
            if not name.startswith(self._prefix):
                continue
            if name not in names:
                meant = tuple(name.removeprefix(self._prefix).lower().split("__"))
                self.problems.append(unknown(variable, meant))
                continue
            try:
                found = self._of_variable(names[name], text)
            except ValueError:
                self.problems.append(
                    f"the variable {variable} must be JSON, as there is no other way to write a list"
                )
                continue
            origin = f"the variable {variable}"
            for key, value in self._leaves(_each_text(found, place)):
                self.add(key, value, origin)

    def _of_variable(self, key: Key, text: str) -> dict[str, Any]:
        """Return what a variable with *text* sets, as a table.

        One at a time, because pydantic-settings does not name the variable it fails on.
        """
        above, row = key[:1], self.rows.get(key[:1])
        if row is None or len(key) == 1:
            source = EnvSettingsSource(self._model)
            source.env_vars = {self.variable(key).lower(): text}
            return source()
        source = EnvSettingsSource(row.model, env_prefix=f"{self.variable(above)}__")
        source.env_vars = {self.variable(key).lower(): text}
        return {above[0]: source()}

    def is_known(self, key: Key) -> bool:
        """Return whether a person can set *key*, which may name the row of a list that it is in."""
        return key in self.keys or self.without_row(key) in self.keys

    def without_row(self, key: Key) -> Key:
        """Return *key* without the name of the row: what it is in each of them."""
        return (key[0], *key[2:]) if key[:1] in self.rows and len(key) > 2 else key

    def add(self, key: Key, value: Any, origin: str) -> None:
        """Put *value* over what lies below it."""
        table: Any = self.values
        for one, text in _texts(value, self.without_row(key)):
            if one in self._paths and (not text or "\0" in text):
                why = "has a NUL, which no path has" if text else _EMPTY
                self.problems.append(f"{origin}: {shown(one)} {why}")
        if key[:1] in self.rows and len(key) > 1 and key[0] in table:
            found = self._row(key, origin)
            if found is not None:
                found[key[-1]] = value
                self._origins[key] = origin
            return
        for part in key[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                return  # what lies below is no table: it stays, to be refused where it came from
        table[key[-1]] = value
        self._origins[key] = origin

    def _row(self, key: Key, origin: str) -> dict[str, Any] | None:
        """Return the row of a list that *key* is in; None: it cannot be told, which is said."""
        list_key, by = key[0], self.rows[key[:1]].by
        held = self.values[list_key]
        rows = [
            one for one in (held if isinstance(held, list) else [held]) if isinstance(one, dict)
        ]
        names = [str(one[by]) for one in rows if by in one]
        if len(key) > 2:
            found = [one for one in rows if by in one and str(one[by]) == key[1]]
            if len(found) == 1:
                return found[0]
            known = f"those are {', '.join(map(repr, names))}" if names else "none has a name"
            self.problems.append(f"{origin}: there is no [[{list_key}]] {key[1]!r}: {known}")
            return None
        if len(rows) == 1:
            return rows[0]
        if rows:  # else what lies below is no table: it stays, to be refused where it came from
            example = f"--set {list_key}.{names[0] if names else 'NAME'}.{key[1]}=..."
            self.problems.append(
                f"{origin} sets [{list_key}] {key[1]}, and there are {len(rows)} [[{list_key}]]: say"
                f" which one, as {example}, or write it into the file"
            )
        return None

    def variable(self, key: Key) -> str:
        """Return the environment variable that sets *key*."""
        return f"{self._prefix}{'__'.join(key)}".upper()

    def _leaves(self, table: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
        for name, value in table.items():
            key = (*above, name)
            if isinstance(value, dict) and value and (key not in self.keys or key in self.rows):
                yield from self._leaves(value, key)
            else:
                yield key, value


def path_keys(model: type[BaseModel], above: Key = ()) -> Iterator[Key]:
    """Yield the keys that hold a path, those in lists of tables as if there were no list."""
    for name, info in model.model_fields.items():
        key: Key = (*above, name)
        kind: Any = info.annotation
        if kind is Path or (isinstance(kind, UnionType) and Path in get_args(kind)):
            yield key
        for one in (kind, *get_args(kind)):
            if isinstance(one, type) and issubclass(one, BaseModel):
                yield from path_keys(one, key)


def shown(key: Key) -> str:
    """Return ``[watch] folder``, as it stands in the file; a key is data, so it is made printable."""
    name = key[-1] if key[-1].isidentifier() else repr(key[-1])
    return name if len(key) == 1 else f"[{'.'.join(key[:-1])}] {name}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return what *name* was probably meant to be."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)), None)


def suggestion(found: str | None) -> str:
    """Return the words that offer *found* in place of a name that is not known; empty: nothing is near."""
    return f"; did you mean {found}?" if found else ""


@dataclass(frozen=True, slots=True)
class _Rows:
    model: type[Any]
    by: str


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, _Rows]]:
    """Yield the lists that may be one table, with what a table of them is."""
    for name, info in model.model_fields.items():
        for mark in info.metadata:
            if isinstance(mark, OneOrMore):
                yield name, _Rows(get_args(info.annotation)[0], mark.by)


def _keys(model: type[BaseModel], above: Key = ()) -> Iterator[Key]:
    rows = dict(_rows(model))
    for name, info in model.model_fields.items():
        if name in rows:
            yield from _keys(rows[name].model, (*above, name))
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, (*above, name))
        else:
            yield (*above, name)


def _texts(value: Any, key: Key) -> Iterator[tuple[Key, str]]:
    """Yield each text of a value, with its key as if there were no list."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _texts(one, (*key, name))
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, key)
    elif isinstance(value, str):
        yield key, value


def _each_text(value: Any, place: Callable[[Key, str], str], key: Key = ()) -> Any:
    if isinstance(value, dict):
        return {name: _each_text(one, place, (*key, name)) for name, one in value.items()}
    if isinstance(value, list):
        return [_each_text(one, place, key) for one in value]
    return place(key, value) if isinstance(value, str) else value
