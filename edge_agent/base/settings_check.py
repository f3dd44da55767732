"""The settings held against this machine: files that cannot be read, and what works and is unwise."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

from edge_agent.base.credentials import FOR_SERVER, credential
from edge_agent.base.errors import ConfigError
from edge_agent.base.overlap import is_within
from edge_agent.base.patience import SHARED, SilentError
from edge_agent.base.settings import AgentSettings, MqttSettings, ServerSettings, WatchSettings
from edge_agent.base.tls import TlsFiles, context
from edge_host.settings import path_keys

_MAY_BE_ABSENT = ("upload", "hold_file")
_FILES = [
    key for key in path_keys(AgentSettings) if key[-1].endswith("_file") and key != _MAY_BE_ABSENT
]


def problems_of_files(settings: AgentSettings) -> Iterator[str]:
    state_dir = settings.state_dir
    answering = [one for one in settings.watch if _answers(one.folder)]
    for one in answering:
        if _is_other_than_folder(one.folder):
            yield f"{one.said}: {one.folder} is a file; name the folder that the camera writes to"
    yield from _problems_between(answering)
    yield from _unknown_folders(settings)
    yield from _unknown_plans(settings)
    if _is_other_than_folder(state_dir):
        yield f"state_dir: {state_dir} is a file; name a folder of the agent's own"
    for one in answering:
        if is_within(state_dir, one.folder):
            which = f" {one.name}" if one.name else ""
            yield f"state_dir: {state_dir} lies in the watched folder{which}; name one outside of it"
    server = settings.server
    is_claimed = server.claim_token_file is not None
    if is_claimed and server.token_file is None:
        yield (
            "[server] claim_token_file is set without token_file: name the file that the token is to"
            " be written to, such as /var/lib/edge-agent/token"
        )
    for section, key in _FILES:
        name, path = f"[{section}] {key}", getattr(getattr(settings, section), key)
        if path is None or (is_claimed and key == "token_file"):
            continue  # where it is claimed it may come later
        if problem := _unreadable(path):
            yield f"{name}: {path} {problem}"
        elif key == "ca_file" and not _holds_certificates(path):
            yield f"{name}: {path} holds no certificate; it must be a PEM file with the CA's"
    for table in (settings.server, settings.mqtt):
        yield from _problems_of_pair(tls_files(table))


def _unknown_folders(settings: AgentSettings) -> Iterator[str]:
    names = [one.name for one in settings.watch]
    known = ", ".join(repr(name) for name in names if name) or "none has a name"
    named = [("priority", [one.folder for one in settings.priority])]
    named.append(("deadline", [one.folder for one in settings.deadline]))
    for table, folders in named:
        for number, folder in enumerate(folders, 1):
            if folder and folder not in names:
                said = f"there is no [[watch]] {folder[:40]!r}: {known}"
                yield f"[[{table}]] number {number}: folder: {said}"


def _unknown_plans(settings: AgentSettings) -> Iterator[str]:
    names = [one.name for one in settings.plan]
    known = ", ".join(map(repr, names)) or "there is none"
    for number, rule in enumerate(settings.link, 1):
        if rule.plan and rule.plan not in names:
            said = f"there is no [[plan]] {rule.plan!r}: {known}"
            yield f"[[link]] number {number}: plan: {said}"


def _problems_between(folders: Sequence[WatchSettings]) -> Iterator[str]:
    """Yield what is wrong with *folders* that have files in common."""
    for first, second in combinations(folders, 2):
        if is_within(first.folder, second.folder) and is_within(second.folder, first.folder):
            yield (
                f"{second.said}: {second.folder} is the same folder as that of {first.name!r},"
                f" {first.folder}: watch it once"
            )
            continue
        for inner, outer in ((first, second), (second, first)):
            if is_within(inner.folder, outer.folder):
                yield (
                    f"{inner.said}: {inner.folder} lies in the folder of {outer.name!r},"
                    f" {outer.folder}: its recordings would be sent twice; watch the outer one alone,"
                    " or folders beside each other"
                )


def _mode(path: Path) -> int:
    """Return the mode of what is at *path*.

    Raises:
        OSError: nothing is there, or this user may not look (which `Path.exists` raises, too).
    """
    return SHARED.call(b"mode of " + os.fsencode(path), lambda: path.stat().st_mode)


def _answers(path: Path) -> bool:
    """Return whether its file system says anything; one that is silent is held against nothing."""
    try:
        _mode(path)
    except SilentError:
        return False
    except OSError:
        return True
    return True


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


def warnings_of(settings: AgentSettings, environment: Mapping[str, str]) -> Iterator[str]:
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
    for one in settings.watch:
        try:
            _mode(one.folder)
        except SilentError as error:
            yield (
                f"{one.said}: {one.folder} does not answer ({error.strerror}): the agent goes on with other"
                " folders, and with this one when it answers"
            )
        except PermissionError:
            yield (
                f"{one.said}: {one.folder} may not be entered by this user: the agent waits for it;"
                " give it access to the folder and to those above it"
            )
        except OSError:
            yield (
                f"{one.said}: {one.folder} does not exist (yet): the agent waits for it; create it,"
                " or mend the path"
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
