"""A certificate and its key from PEM files, and in a sentence why they cannot be used."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

_BY_TIME = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED: Python has no names for them."""


def by_the_clock(error: ssl.SSLCertVerificationError) -> str:
    """Return what to do where it is the time that speaks against a certificate; empty: it is something else."""
    if error.verify_code not in _BY_TIME:
        return ""
    now = datetime.now(UTC)
    return f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC: if that is wrong, set it."


class PairError(Exception):
    """The pair cannot be used; the text begins with the file's name.

    `parts` says which settings it is about: ``cert_file``, ``key_file``.
    """

    def __init__(self, text: str, *parts: str) -> None:
        super().__init__(text)
        self.parts = parts


class _LockedError(Exception):
    pass


def load_pair(
    context: ssl.SSLContext, cert: Path, key: Path, *, unreadable: str, mismatch: str, locked: str
) -> None:
    """Load our own certificate with its chain, and the key, which may lie in the same file.

    Args:
        unreadable, mismatch, locked: what the program says of such a file, ``{cert}`` in the second.

    Raises:
        PairError: they cannot be read, or are no such pair.
    """
    for part, path in (("cert_file", cert), ("key_file", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise PairError(f"{path} {unreadable}: {error.strerror}", part) from error
    try:
        # A key behind a password would ask on the terminal of a service that has none.
        context.load_cert_chain(cert, key, password=_nobody_types)
    except _LockedError as error:
        raise PairError(f"{key} {locked}", "key_file") from error
    except OSError as error:  # ssl.SSLError is one
        raise _why_not(error, cert, key, mismatch.format(cert=cert)) from error


def _nobody_types() -> str:
    raise _LockedError


def _why_not(error: OSError, cert: Path, key: Path, mismatch: str) -> PairError:
    reason = getattr(error, "reason", None) or str(error)
    if reason == "KEY_VALUES_MISMATCH":
        return PairError(f"{key} {mismatch}", "key_file")
    if b"-----BEGIN CERTIFICATE-----" not in cert.read_bytes():
        return PairError(f"{cert} holds no certificate in PEM form", "cert_file")
    if b"PRIVATE KEY-----" not in key.read_bytes():
        return PairError(f"{key} holds no private key in PEM form", "key_file")
    said = reason.replace("_", " ").lower()
    return PairError(f"{cert} and {key} cannot be used: {said}", "cert_file", "key_file")
