"""Reading the agent's settings, and what a person should know about how they came to be.

How the layers lie over each other is `edge_host.settings`, and what is said of them `edge_host.setting_errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from edge_agent.base.errors import ConfigError
from edge_agent.base.rule_settings import (
    DeadlineSettings,
    LinkSettings,
    PlanSettings,
    PrioritySettings,
)
from edge_agent.base.settings import AgentSettings, WatchSettings
from edge_agent.base.settings_check import problems_of_files, warnings_of
from edge_host.setting_errors import SettingErrors
from edge_host.settings import Key, Layers, path_keys

DEFAULT_FILE = Path("/etc/edge-uploader/agent.toml")
ENVIRONMENT_PREFIX = str(AgentSettings.model_config["env_prefix"])
CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"
"""Names the file where no option does."""

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
        ConfigError: with every problem of the settings; of the files that they name, once the settings have none.
    """
    layers = Layers(AgentSettings, ConfigError)
    used = DEFAULT_FILE if file is None else file
    wrong = SettingErrors(layers, _ROWS, str(used), _REQUIRED)
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
            f"the variable {variable} sets no key{wrong.meant(key, as_variable=True)}"
        ),
    )
    _add_options(layers, options, wrong)
    try:
        settings = AgentSettings.model_validate(layers.values)
    except ValidationError as error:
        raise ConfigError(_sentences(error, layers, wrong, has_file=has_file)) from None
    if layers.problems:  # a path among them may be none, and is not looked at
        raise ConfigError(layers.problems)
    if looks_at_files and (problems := list(problems_of_files(settings))):
        raise ConfigError(problems)
    warnings = tuple(warnings_of(settings, environment)) if looks_at_files else ()
    return Loaded(settings, used if has_file else None, warnings)


def _sentences(
    error: ValidationError, layers: Layers, wrong: SettingErrors, *, has_file: bool
) -> list[str]:
    found = error.errors(include_url=False, include_input=False)
    sentences = [*layers.problems, *wrong.sentences(found)]
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


def _add_options(
    layers: Layers, options: Mapping[str, tuple[str, str]], wrong: SettingErrors
) -> None:
    for dotted, (value, typed) in options.items():
        key = tuple(dotted.split("."))
        if layers.is_known(key):
            layers.add(key, _from_here(layers.without_row(key), value), f"the option {typed}")
        else:
            layers.problems.append(f"{typed}: there is no key {dotted!r}{wrong.meant(key)}")
