"""What a person gives `edge-agent setup`: the server's URL, its authority, the claim. Refused in words."""

from __future__ import annotations

import argparse
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from edge_agent.base.settings import ServerSettings
from edge_agent.setup import authority
from edge_host.setup.errors import SetupError

_MOST_CLAIM = 8 * 1024
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def checked_url(url: str) -> str:
    """Return the server's URL as the configuration takes it.

    Raises:
        SetupError: it is none, or would show the token to the network.
    """
    malformed = SetupError(f"--server {url!r}: write https://HOST:PORT.")
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise malformed from error
    if parts.scheme not in {"http", "https"} or not has_place:
        raise malformed
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise SetupError(
            "--server http://...: anybody on the way could read the token. Use the server's https:// URL."
        )
    try:
        ServerSettings(url=url)
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise SetupError(
            f"--server {why.removeprefix('Value error, ')}: write https://HOST:PORT."
        ) from error
    return url.rstrip("/")


def ca(options: argparse.Namespace, url: str, known: Path | None) -> bytes | None:
    """Return the CA to trust for the server, in PEM form; None: those of the system.

    Args:
        known: the one that this device trusts already, where none is given.

    Raises:
        SetupError: the given one is none, or the server has another.
    """
    chosen = options.ca_file or (None if options.ca_sha256 else known)
    if (options.ca_sha256 or chosen) and urlsplit(url).scheme == "http":
        raise SetupError(
            "--server http://... has no certificate, so no CA can vouch for it: write https://, or leave out"
            " --ca-sha256 and --ca-file."
        )
    if options.ca_sha256 is not None:
        return authority.fetch(url, authority.plain_fingerprint(options.ca_sha256))
    return None if chosen is None else _read_ca(chosen, is_given=options.ca_file is not None)


def _read_ca(path: Path, *, is_given: bool) -> bytes:
    what, todo = f"--ca-file {path}", ""
    if not is_given:
        what = f"{path}, the server's CA since the last setup"
        todo = (
            " Name the CA once more: --ca-sha256, as `ingest-server setup` prints it, or --ca-file."
        )
    try:
        pem = path.read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:  # not in ASCII, or empty
        raise SetupError(f"{what} holds no certificate in PEM form.{todo}") from error
    except OSError as error:
        raise SetupError(f"{what}: {error.strerror}.{todo}") from error
    return pem


def claim(options: argparse.Namespace) -> str | None:
    """Return the claim or token that a person gave; None: none.

    Raises:
        SetupError: it cannot be read, or is neither.
    """
    where = f"--claim-file {options.claim_file}" if options.claim_file else "--claim"
    try:
        if options.claim == "-":
            found = _read_line()
        elif options.claim_file is not None:
            found = options.claim_file.read_text(encoding="ascii")
        elif options.claim is None:
            return None
        else:
            found = options.claim
    except UnicodeDecodeError:
        found = "\0"
    except OSError as error:
        raise SetupError(f"{where}: {error.strerror}.") from error
    found = found.strip()
    if not found:
        raise SetupError(f"{where}: nothing was in it, and a claim token was to come.")
    if not found.startswith(("edc_", "edt_")) or not found.isascii() or not found.isprintable():
        raise SetupError(
            f"{where}: that is no claim token. One begins with edc_, a device's own token with edt_."
        )
    return found


def _read_line() -> str:
    if sys.stdin.isatty():
        sys.stderr.write("Paste the claim token, and press Enter:\n")
    return sys.stdin.readline(_MOST_CLAIM)
