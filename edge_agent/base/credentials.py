"""Secrets: from systemd's credentials or from a file; never in the configuration, never in a log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edge_agent.base.errors import ConfigError

FOR_SERVER = "device-token"
FOR_BROKER = "mqtt-password"

_MAX_BYTES = 8 * 1024


def credential(name: str, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file in which systemd hands over the credential *name*, if it does."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    path = None if not folder else Path(folder, name)
    return path if path is not None and path.is_file() else None


def read_secret(name: str, file: Path | None) -> str | None:
    """Return the credential *name*, else the content of *file*, else None. Read anew at each call.

    Raises:
        ConfigError: the file cannot be read or holds no single line of text.
    """
    path = credential(name) or file
    if path is None:
        return None
    try:
        with path.open("rb") as source:
            text = source.read(_MAX_BYTES + 1).decode("ascii").strip()
    except OSError as error:
        raise ConfigError([f"the secret in {path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"the secret in {path} is not plain text"]) from None
    if not text or len(text) > _MAX_BYTES or not text.isprintable() or " " in text:
        raise ConfigError([f"{path} must hold the secret alone, on one line"])
    return text
