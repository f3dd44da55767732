"""A certificate that a person has given, tried before anything names it."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

from edge_host.certificates import PairError, load_pair
from edge_host.setup.as_user import User
from edge_host.setup.errors import SetupError
from edge_host.setup.unseen import HOMES, UNSEEN, hidden_by


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


def refuse_unseen(cert: Path, key: Path, ca: Path | None) -> None:
    """Refuse files in a place that the server does not see once it is a service.

    Raises:
        SetupError: one of them is there.
    """
    for part, path in (("cert_file", cert), ("key_file", key), ("ca_file", ca)):
        if path is not None and (top := hidden_by(path, *HOMES, *UNSEEN)) is not None:
            raise SetupError(
                f"{_option(part)} {path}: a service does not see {top}. Put the file into another place, such as"
                " /etc/ssl, and name that."
            )


def _option(part: str) -> str:
    return f"--{part.replace('_', '-')}"


def _is_read(path: Path) -> bool:
    path.open("rb").close()
    return True
