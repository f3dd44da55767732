"""A certificate that a person has given, tried before anything names it."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

from edge_host.certificates import PairError, load_pair
from edge_host.setup.as_user import User
from edge_host.setup.errors import SetupError


def check_pair(cert: Path, key: Path, user: str) -> None:
    """Refuse a pair that the server could not use.

    Raises:
        SetupError: they do not fit, or the user may not read them.
    """
    try:
        load_pair(
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            cert,
            key,
            unreadable="cannot be read",
            mismatch="is not the key of {cert}",
            locked="has a password: give one without",
        )
    except PairError as error:
        raise SetupError(f"{' and '.join(map(_option, error.parts))}: {error}.") from error
    for path in (cert, key):
        if not User.named(user, []).does(partial(_is_read, path)):
            raise SetupError(
                f"{path}: the user {user} may not read it, and the server runs as that user. Let its group read it"
                f" (chgrp {user} {path}; chmod g+r {path}), and pass through the folders above it."
            )


def _option(part: str) -> str:
    return f"--{part.replace('_', '-')}"


def _is_read(path: Path) -> bool:
    path.open("rb").close()
    return True
