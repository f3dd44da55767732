"""Reading the settings: command line over environment over file over defaults.

Each value remembers where it came from, so that what is wrong with it can be said in one sentence that
a person can act on: which key, from which file, variable or option, and what would be right. Messages
never hold the value itself: it may be a secret in the wrong place.
"""

from __future__ import annotations

import difflib
import re
import ssl
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import UnionType
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from edge_agent.base.credentials import FOR_SERVER, credential
from edge_agent.base.errors import ConfigError
from edge_agent.base.settings import AgentSettings, MqttSettings, ServerSettings
from edge_agent.base.tls import TlsFiles, context

DEFAULT_FILE = Path("/etc/edge-uploader/agent.toml")
ENVIRONMENT_PREFIX = "EDGE_AGENT_"
CONFIG_VARIABLE = "EDGE_AGENT_CONFIG"
"""Names the file where no option does."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and what a person should know about how they came to be."""

    settings: AgentSettings
    file: Path | None
    """The file that was read; None: there was none, and none was asked for."""
    warnings: tuple[str, ...]
    """Sentences about what works and is unwise."""


@dataclass(slots=True)
class _Layers:
    """The merged values, and each one's source in words."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, key: Key, value: Any, source: str) -> None:
        table = self.values
        for part in key[:-1]:
            inner = table.get(part)
            if not isinstance(inner, dict):
                inner = table[part] = {}
            table = inner
        table[key[-1]] = value
        self.sources[key] = source


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
    layers = _Layers()
    used = _add_file(layers, file)
    _add_environment(layers, environment)
    _add_options(layers, options)
    try:
        settings = AgentSettings.model_validate(layers.values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        sentences = [*layers.problems, *(_sentence(one, layers, used) for one in found)]
        if used is None and any(one["type"] == "missing" for one in found):
            sentences.insert(
                0,
                f"no configuration file was found: {DEFAULT_FILE} does not exist; name yours with"
                f" --config FILE, or in ${CONFIG_VARIABLE}",
            )
        raise ConfigError(sentences) from None
    problems = [*layers.problems, *(_problems_of_files(settings) if looks_at_files else ())]
    if problems:
        raise ConfigError(problems)
    if not looks_at_files:
        return Loaded(settings, used, ())
    return Loaded(settings, used, tuple(_warnings(settings, environment)))


# --- layers ---------------------------------------------------------------------------------


def _add_file(layers: _Layers, file: Path | None) -> Path | None:
    path = DEFAULT_FILE if file is None else file
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        if file is None:
            return None
        raise ConfigError([f"the configuration file {path} does not exist"]) from None
    except IsADirectoryError:
        raise ConfigError([f"the configuration file {path} is a folder"]) from None
    except OSError as error:
        raise ConfigError(
            [f"the configuration file {path} cannot be read: {error.strerror}"]
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            [f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8"]
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None
    for key, value in _leaves(document):
        is_path = key in _PATHS and isinstance(value, str) and value != ""
        meant = str(path.absolute().parent / Path(value).expanduser()) if is_path else value
        layers.put(key, meant, str(path))
    return path


def _add_environment(layers: _Layers, environment: Mapping[str, str]) -> None:
    for variable, value in sorted(environment.items()):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if variable in (name, CONFIG_VARIABLE) or not value:
            continue
        key = tuple(name.lower().split("__"))
        if key not in _KEYS:
            layers.problems.append(
                f"the variable {variable} sets no key{_nearest(key, as_variable=True)}"
            )
            continue
        # One at a time, because pydantic-settings does not name the variable it fails on.
        source = EnvSettingsSource(AgentSettings)
        source.env_vars = {variable.lower(): value}
        for found, parsed in _leaves(source()):
            layers.put(found, _from_text(found, parsed), f"the variable {variable}")


def _add_options(layers: _Layers, options: Mapping[str, tuple[str, str]]) -> None:
    for dotted, (value, typed) in options.items():
        key = tuple(dotted.split("."))
        if key not in _KEYS:
            layers.problems.append(f"{typed}: there is no key {dotted!r}{_nearest(key)}")
            continue
        layers.put(key, _from_text(key, value), f"the option {typed}")


def _from_text(key: Key, text: str) -> Any:
    if key in _PATHS:
        return str(Path(text).expanduser().absolute())
    return text


def _leaves(table: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, value in table.items():
        key = (*above, name)
        if isinstance(value, dict) and value and key not in _KEYS:
            yield from _leaves(value, key)
        else:
            yield key, value


def _fields(model: type[BaseModel], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields(info.annotation, (*above, name))
        else:
            yield (*above, name), info.annotation


_KEYS: Mapping[Key, Any] = dict(_fields(AgentSettings))
_TABLES = {key[:-1] for key in _KEYS if len(key) > 1}
_PATHS = {
    key
    for key, kind in _KEYS.items()
    if kind is Path or (isinstance(kind, UnionType) and Path in get_args(kind))
}


# --- sentences ------------------------------------------------------------------------------


def _sentence(error: ErrorDetails, layers: _Layers, file: Path | None) -> str:
    key = tuple(part for part in error["loc"] if isinstance(part, str) and "[" not in part)
    known = key
    while known and known not in _KEYS and known not in _TABLES:
        known = known[:-1]  # pydantic adds the branch of a union, the index of a list
    kind = error["type"]
    if kind == "missing":
        return f"{_missing(key)} (in {file or DEFAULT_FILE}, as a variable or as an option)"
    if kind == "extra_forbidden":
        source = layers.sources.get(key) or next(
            (where for one, where in layers.sources.items() if one[: len(key)] == key), "?"
        )
        return f"{source}: there is no key {_shown(key)}{_nearest(key)}"
    source = layers.sources.get(known, str(file))
    return f"{source}: {_shown(known)} {_complaint(kind, error)}"


def _missing(key: Key) -> str:
    if key in _TABLES:
        needed = [".".join(one) for one in _KEYS if one[: len(key)] == key and one in _REQUIRED]
        return f"{' and '.join(needed)} must be set"
    return f"{_shown(key)} must be set"


_REQUIRED = {("device_id",), ("watch", "folder"), ("server", "url")}

_COMPLAINTS = {
    "string_type": "must be text in quotes",
    "path_type": "must be a path in quotes",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "tuple_type": 'must be a list of texts, such as ["*.mp4", "*.mkv"]',
    "byte_size": 'must be a size such as "8MiB" or "500KB"',
    "byte_size_unit": 'must be a size such as "8MiB" or "500KB"',
    "model_type": "is a table: write its keys below [{key}]",
    "model_attributes_type": "is a table: write its keys below [{key}]",
}


def _complaint(kind: str, error: ErrorDetails) -> str:
    if kind in _COMPLAINTS:
        key = ".".join(str(part) for part in error["loc"])
        return _COMPLAINTS[kind].format(key=key)
    message = error["msg"].removeprefix("Value error, ")
    message = re.sub(r"^Input should be ", "must be ", message)
    return message[:1].lower() + message[1:]


def _shown(key: Key) -> str:
    """Return ``[watch] folder``, as it stands in the file; a key is data, so it is made printable."""
    name = key[-1] if key[-1].isidentifier() else repr(key[-1])
    return name if len(key) == 1 else f"[{'.'.join(key[:-1])}] {name}"


def _nearest(key: Key, *, as_variable: bool = False) -> str:
    known = [".".join(one) for one in (*_KEYS, *_TABLES)]
    match = difflib.get_close_matches(".".join(key), known, n=1, cutoff=0.6)
    if not match:
        # A key without its table, or in the wrong one.
        match = [one for one in known if one.rpartition(".")[2] == key[-1]][:1]
    if not match:
        return ""
    found = tuple(match[0].split("."))
    if as_variable:
        return f"; did you mean {ENVIRONMENT_PREFIX}{'__'.join(found).upper()}?"
    return f"; did you mean {_shown(found)}?"


# --- what the machine holds -----------------------------------------------------------------


def _problems_of_files(settings: AgentSettings) -> Iterator[str]:
    folder = settings.watch.folder
    if _is_other_than_folder(folder):
        yield f"[watch] folder: {folder} is a file; name the folder that the camera writes to"
    state_dir = settings.state_dir
    if _is_other_than_folder(state_dir):
        yield f"state_dir: {state_dir} is a file; name a folder of the agent's own"
    if state_dir.absolute().is_relative_to(folder.absolute()):
        yield f"state_dir: {state_dir} lies in the watched folder; name one outside of it"
    server = settings.server
    is_claimed = server.claim_token_file is not None
    if is_claimed and server.token_file is None:
        yield (
            "[server] claim_token_file is set without token_file: name the file that the token is to"
            " be written to, such as /var/lib/edge-agent/token"
        )
    for name, path in (
        # Where it is claimed it may come later.
        ("[server] token_file", None if is_claimed else server.token_file),
        ("[server] claim_token_file", server.claim_token_file),
        ("[server] ca_file", settings.server.ca_file),
        ("[server] client_cert_file", settings.server.client_cert_file),
        ("[server] client_key_file", settings.server.client_key_file),
        ("[mqtt] password_file", settings.mqtt.password_file),
        ("[mqtt] ca_file", settings.mqtt.ca_file),
        ("[mqtt] client_cert_file", settings.mqtt.client_cert_file),
        ("[mqtt] client_key_file", settings.mqtt.client_key_file),
    ):
        if path is not None and (problem := _unreadable(path)):
            yield f"{name}: {path} {problem}"
        elif path is not None and name.endswith("ca_file") and not _holds_certificates(path):
            yield f"{name}: {path} holds no certificate; it must be a PEM file with the CA's"
    for table in (settings.server, settings.mqtt):
        yield from _problems_of_pair(tls_files(table))


def _mode(path: Path) -> int:
    """Return the mode of what is at *path*.

    Raises:
        OSError: nothing is there, or this user may not look (which `Path.exists` raises, too).
    """
    return path.stat().st_mode


def _is_other_than_folder(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(_mode(path))
    except OSError:
        return False


def _is_open_to_others(path: Path) -> bool:
    try:
        return bool(_mode(path) & 0o077)
    except OSError:
        return False


def tls_files(table: ServerSettings | MqttSettings) -> TlsFiles:
    """Return the files that *table* names for TLS."""
    return TlsFiles(
        table.ca_file,
        table.client_cert_file,
        table.client_key_file,
        table="server" if isinstance(table, ServerSettings) else "mqtt",
    )


def _problems_of_pair(files: TlsFiles) -> Iterator[str]:
    if files.cert_file is None:
        if files.key_file is not None:
            yield (
                f"[{files.table}] client_key_file is set without client_cert_file: name the"
                " certificate that it is the key of"
            )
        return
    key_file = files.key_of_cert
    if key_file is None or _unreadable(files.cert_file) or _unreadable(key_file):
        return  # said already
    try:
        context(TlsFiles(None, files.cert_file, files.key_file, table=files.table))
    except ConfigError as error:
        yield from error.problems


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return "does not exist"
    except IsADirectoryError:
        return "is a folder"
    except OSError as error:
        return f"cannot be read by this user: {error.strerror}"


def _holds_certificates(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError:  # ssl.SSLError is one
        return False
    return True


def _warnings(settings: AgentSettings, environment: Mapping[str, str]) -> Iterator[str]:
    if is_insecure(settings.server.url):
        yield (
            "[server] url is plain http to another machine: everyone on the way can read the"
            " recordings and the token; use https"
        )
    if is_insecure(settings.mqtt.url or "") and settings.mqtt.username:
        yield "[mqtt] url is plain mqtt to another machine: the password is readable; use mqtts"
    for name, path in (
        ("[server] token_file", settings.server.token_file),
        ("[server] claim_token_file", settings.server.claim_token_file),
        ("[server] client_key_file", tls_files(settings.server).key_of_cert),
        ("[mqtt] password_file", settings.mqtt.password_file),
        ("[mqtt] client_key_file", tls_files(settings.mqtt).key_of_cert),
    ):
        if path is not None and _is_open_to_others(path):
            yield f"{name}: {path} can be read by other users; run: chmod 600 {path}"
    server = settings.server
    is_known = server.token_file or server.client_cert_file or credential(FOR_SERVER, environment)
    if not is_known and not is_loopback(urlsplit(settings.server.url).hostname or ""):
        yield "[server] token_file is not set: only a server in open mode takes uploads without"
    folder = settings.watch.folder
    try:
        _mode(folder)
    except PermissionError:
        yield (
            f"[watch] folder: {folder} may not be entered by this user: the agent waits for it; give"
            " it access to the folder and to those above it"
        )
    except OSError:
        yield (
            f"[watch] folder: {folder} does not exist (yet): the agent waits for it; create it, or"
            " mend the path"
        )


def is_insecure(url: str) -> bool:
    """Return whether *url* goes to another machine unencrypted."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "mqtt") and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
