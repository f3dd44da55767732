"""TLS contexts for the server and the broker, made from files that may be renewed at any time."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from pathlib import Path

from edge_agent.base import ciphers
from edge_agent.base.errors import ConfigError
from edge_agent.core.printable import without_codes
from edge_host.certificates import PairError, load_pair


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; None: the system's authorities, and no certificate of our own."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    table: str = "server"
    """Where the configuration names them, for messages."""

    @property
    def key_of_cert(self) -> Path | None:
        """The file that holds the key: often the certificate's own."""
        return self.key_file or self.cert_file


def context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context for *files* as they are now: the same one for as long as they are the same.

    One for all lanes: a megabyte each, and a session of one can be resumed by another.

    Raises:
        ConfigError: a file cannot be read or used; one sentence.
    """
    return _context(files, stamp(files), has_aes=ciphers.has_aes())


def stamp(files: TlsFiles) -> tuple[tuple[int, int], ...]:
    """Return something that is equal only while the files are the same."""
    return tuple(
        _stamp(path)
        for path in (files.ca_file, files.cert_file, files.key_file)
        if path is not None
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)  # the context says what is wrong with it
    return (found.st_mtime_ns, found.st_ino)


@functools.lru_cache(maxsize=8)
def _context(files: TlsFiles, _stamp: object, *, has_aes: bool) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=_usable_ca(files))
    if not has_aes:
        made.set_ciphers(ciphers.chacha_first(made))
    if files.cert_file is not None:
        _load_own(made, files)
    return made


def _usable_ca(files: TlsFiles) -> str | None:
    if files.ca_file is None:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=files.ca_file)
    except OSError as error:  # ssl.SSLError is one
        msg = f"{files.table}.ca_file: {files.ca_file} cannot be used: {without_codes(str(error))}"
        raise ConfigError([msg]) from error
    return str(files.ca_file)


def _load_own(made: ssl.SSLContext, files: TlsFiles) -> None:
    cert, key = files.cert_file, files.key_of_cert
    if cert is None or key is None:
        return
    try:
        load_pair(
            made,
            cert,
            key,
            unreadable="cannot be read by this user",
            mismatch="is not the key of the certificate in {cert}: renew both together, or name the key that"
            " belongs to it",
            locked="is protected by a password, which nobody is there to type: store it without one, readable"
            " by the agent's user only",
        )
    except PairError as error:
        where = ", ".join(f"client_{part}" for part in error.parts)
        raise ConfigError([f"[{files.table}] {where}: {error}"]) from error
