"""Reading the agent's settings, and what a person should know about how they came to be.

How the layers lie over each other is `edge_host.settings`; here are the agent's words for what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edge_agent.base.errors import ConfigError
from edge_agent.base.rule_settings import (
    DeadlineSettings,
    LinkSettings,
    PlanSettings,
    PrioritySettings,
)
from edge_agent.base.settings import AgentSettings, WatchSettings
from edge_agent.base.settings_check import problems_of_files, warnings_of
from edge_host.settings import Key, Layers, Words, complaint, nearest, path_keys, suggestion

DEFAULT_FILE = Path("/etc/edge-uploader/agent.toml")
ENVIRONMENT_PREFIX = str(AgentSettings.model_config["env_prefix"])
CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"
"""Names the file where no option does."""

_WORDS = Words(
    error=ConfigError,
    absent="the configuration file {path} does not exist",
    is_folder="the configuration file {path} is a folder",
    unreadable="the configuration file {path} cannot be read: {why}",
    not_text="{path}: not UTF-8 text (byte {byte}); save the file as UTF-8",
    not_toml="{path}: not valid TOML: {why}",
    from_file="{path}",
    from_variable="the variable {variable}",
    no_path="{origin}: {key} {why}",
    not_json="the variable {variable} must be JSON, as there is no other way to write a list of tables",
)
_PATHS = frozenset(path_keys(AgentSettings))
_ROWS: dict[str, type[BaseModel]] = {
    "deadline": DeadlineSettings,
    "link": LinkSettings,
    "plan": PlanSettings,
    "priority": PrioritySettings,
    "watch": WatchSettings,
}
"""The lists of tables, and what each of their tables is."""
_REQUIRED = {("device_id",), ("watch", "folder"), ("server", "url")}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and what a person should know about how they came to be."""

    settings: AgentSettings
    file: Path | None
    """The file that was read; None: there was none, and none was asked for."""
    warnings: tuple[str, ...]
    """Sentences about what works and is unwise."""


def load(
    file: Path | None,
    environment: Mapping[str, str],
    options: Mapping[str, tuple[str, str]],
    *,
    looks_at_files: bool = True,
) -> Loaded:
    """Return the settings of all sources together.

    Args:
        file: named by a person, so it must exist; None: the default file if there is one.
        options: dotted key -> (value, the option as typed), of the command line.
        looks_at_files: False for `status`, which another user may ask for, who may not read the
            files that the settings name.

    Raises:
        ConfigError: with every problem found, not only the first.
    """
    layers = Layers(AgentSettings, _WORDS)
    used = DEFAULT_FILE if file is None else file
    has_file = layers.add_file(used, _beside_file, may_be_absent=file is None)
    layers.add_environment(
        {
            name: text
            for name, text in environment.items()
            if text and name.startswith(ENVIRONMENT_PREFIX) and name != CONFIG_VARIABLE
        },
        keys=layers.keys,
        place=_from_here,
        unknown=lambda variable, key: (
            f"the variable {variable} sets no key{_meant(layers, key, as_variable=True)}"
        ),
    )
    _add_options(layers, options)
    try:
        settings = AgentSettings.model_validate(layers.values)
    except ValidationError as error:
        raise ConfigError(_sentences(error, layers, used, has_file=has_file)) from None
    if layers.problems:  # a path among them may be none, and is not looked at
        raise ConfigError(layers.problems)
    if looks_at_files and (problems := list(problems_of_files(settings))):
        raise ConfigError(problems)
    warnings = tuple(warnings_of(settings, environment)) if looks_at_files else ()
    return Loaded(settings, used if has_file else None, warnings)


def _sentences(error: ValidationError, layers: Layers, file: Path, *, has_file: bool) -> list[str]:
    found = error.errors(include_url=False, include_input=False)
    sentences = [*layers.problems, *(_sentence(one, layers, file) for one in found)]
    if not has_file and any(one["type"] == "missing" for one in found):
        sentences.insert(
            0,
            f"no configuration file was found: {DEFAULT_FILE} does not exist; name yours with"
            f" --config FILE, or in ${CONFIG_VARIABLE}",
        )
    return sentences


def _beside_file(key: Key, text: str, folder: Path) -> str:
    return str(folder / Path(text).expanduser()) if key in _PATHS and text else text


def _from_here(key: Key, text: str) -> str:
    return str(Path(text).expanduser().absolute()) if key in _PATHS and text else text


def _add_options(layers: Layers, options: Mapping[str, tuple[str, str]]) -> None:
    for dotted, (value, typed) in options.items():
        key = tuple(dotted.split("."))
        if layers.is_known(key):
            layers.add(key, _from_here(layers.without_row(key), value), f"the option {typed}")
        else:
            layers.problems.append(f"{typed}: there is no key {dotted!r}{_meant(layers, key)}")


def _sentence(error: ErrorDetails, layers: Layers, file: Path) -> str:
    if error["loc"][0] in _ROWS and len(error["loc"]) > 2:
        if isinstance(layers.values[str(error["loc"][0])], list):
            return _sentence_of_row(error, layers, file)
        error = {**error, "loc": (error["loc"][0], *error["loc"][2:])}  # it is one table
    key = tuple(part for part in error["loc"] if isinstance(part, str) and "[" not in part)
    if error["type"] == "missing":
        return f"{_missing(key, layers)} (in {file}, as a variable or as an option)"
    if error["type"] == "extra_forbidden":
        return f"{layers.origin(key)}: there is no key {_shown(key)}{_meant(layers, key)}"
    known = key
    while known and known not in layers.keys and known not in layers.tables:
        known = known[:-1]  # pydantic adds the branch of a union, the index of a list
    place = layers.origin(known) or file
    if error["type"] == "tuple_type" and key[0] in _ROWS and len(key) == 1:
        return f"{place}: there may be several of {key[0]}: write each one below a line [[{key[0]}]], with two brackets"
    return f"{place}: {_shown(known)} {_wrong(error)}"


def _sentence_of_row(error: ErrorDetails, layers: Layers, file: Path) -> str:
    table, index, name = (str(part) for part in error["loc"][:3])
    row = layers.values[table][int(index)]
    origin = layers.origin((table, str(row.get("name")), name))
    place = f"{origin or file}: [[{table}]] number {int(index) + 1}"
    if error["type"] == "missing":
        return f"{place}: {name} must be set"
    if error["type"] == "extra_forbidden":
        meant = suggestion(nearest(name, list(_ROWS[table].model_fields)))
        return f"{place}: there is no key {_shown((name,))}{meant}"
    return f"{place}: {name} {_wrong(error)}"


def _wrong(error: ErrorDetails) -> str:
    return re.sub(r"^input should be ", "must be ", complaint(error, _PLAINLY))


def _missing(key: Key, layers: Layers) -> str:
    if key in layers.tables:
        needed = [
            ".".join(one) for one in layers.keys if one[: len(key)] == key and one in _REQUIRED
        ]
        return f"{' and '.join(needed)} must be set"
    return f"{_shown(key)} must be set"


_PLAINLY = {
    "string_type": "must be text in quotes",
    "path": "must be a path in quotes",
    "bool": "must be true or false",
    "float": "must be a number",
    "finite_number": "must be a finite number",
    "int": "must be a whole number",
    "tuple_type": 'must be a list of texts, such as ["*.mp4", "*.mkv"]',
    "dict_type": 'must be a table of texts, such as {{site = "north"}}',
    "byte": 'must be a size such as "8MiB" or "500KB"',
    "model": "is a table: write its keys below [{key}]",
}
"""Pydantic's words where a person needs others."""


def _shown(key: Key) -> str:
    """Return ``[watch] folder``, as it stands in the file; a key is data, so it is made printable."""
    name = key[-1] if key[-1].isidentifier() else repr(key[-1])
    return name if len(key) == 1 else f"[{'.'.join(key[:-1])}] {name}"


def _meant(layers: Layers, key: Key, *, as_variable: bool = False) -> str:
    known = [".".join(one) for one in (*layers.keys, *layers.tables)]
    match = nearest(".".join(key), known)
    if match is None:
        # A key without its table, or in the wrong one.
        match = next((one for one in known if one.rpartition(".")[2] == key[-1]), None)
    if match is None:
        return ""
    found = tuple(match.split("."))
    return suggestion(layers.variable(found) if as_variable else _shown(found))
