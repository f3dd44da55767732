"""How text is kept: compared by its bytes, as in SQLite, so that ids and names are in one order everywhere."""

from __future__ import annotations

import re
from urllib.parse import unquote

TEXT = 'TEXT COLLATE "C"'


def without_password(url: str) -> str:
    """Return *url* as it may be logged."""
    scheme, _, rest = url.partition("://")
    head, at, tail = rest.rpartition("@")  # the last one: a password may have some, too
    place, _, query = tail.partition("?")
    told = [one for one in query.split("&") if one and not _is_secret(one.partition("=")[0])]
    user = re.split("[:/?]", head)[0]
    return f"{scheme}://{user}{at}{place}{'?' if told else ''}{'&'.join(told)}"


def _is_secret(name: str) -> bool:
    return any(word in unquote(name).lower() for word in ("password", "secret"))
