"""Passwords of people: hashed with scrypt, whose parameters stand beside each hash.

The form is the one of the PHC string format, ``$scrypt$ln=15,r=8,p=3$SALT$HASH``, so that other
parameters may come later and the older hashes stay good.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import unicodedata

LEAST_CHARACTERS = 10
MOST_BYTES = 1024
"""Of a password: more is nobody's, and would be hashed before it is known to be wrong."""

LOG_COST, BLOCK, LANES = 15, 8, 3
"""What a guess costs: 32 MiB and a quarter of a second of one core of the machine that this was measured
on (a Pi 4: about one). As strong as the 128 MiB in one pass that would fit no small server; OWASP's
table of equals, 2023."""
MOST_MEMORY = 64 * 1024 * 1024

_STORED = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)\Z"
)


def fault_of(password: str) -> str | None:
    """Return why *password* is not taken as a new one, in words; None: it is."""
    if len(password) < LEAST_CHARACTERS:
        return f"a password has at least {LEAST_CHARACTERS} characters"
    if len(password.encode("utf-8", "replace")) > MOST_BYTES:
        return f"a password has at most {MOST_BYTES} bytes"
    if any(unicodedata.category(one) in {"Cc", "Cs"} for one in password):
        return "a password has no control characters"
    return None


def hashed(password: str, *, log_cost: int = LOG_COST) -> str:
    """Return *password* as it is stored."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, log_cost, BLOCK, LANES)
    return f"$scrypt$ln={log_cost},r={BLOCK},p={LANES}${_text(salt)}${_text(digest)}"


def is_right(password: str, stored: str | None) -> bool:
    """Whether *stored* was made of *password*; takes as long where there is none stored."""
    match = _STORED.match(stored or _NOBODYS)
    if match is None:
        return False
    log_cost, block, lanes = (int(one) for one in match.groups()[:3])
    salt, wanted = (base64.b64decode(one + "==") for one in match.groups()[3:])
    is_it = hmac.compare_digest(_scrypt(password, salt, log_cost, block, lanes), wanted)
    return is_it and stored is not None


def _scrypt(password: str, salt: bytes, log_cost: int, block: int, lanes: int) -> bytes:
    # One password, however a keyboard composes its letters.
    known = unicodedata.normalize("NFKC", password).encode("utf-8", "replace")[:MOST_BYTES]
    return hashlib.scrypt(
        known, salt=salt, n=1 << log_cost, r=block, p=lanes, maxmem=MOST_MEMORY, dklen=32
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii").rstrip("=")


_NOBODYS = f"$scrypt$ln={LOG_COST},r={BLOCK},p={LANES}${_text(bytes(16))}${_text(bytes(32))}"
