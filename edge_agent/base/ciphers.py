"""Which cipher comes first.

Without instructions for AES (each Raspberry Pi before the 5) ChaCha20 takes a fifth of AES's time. Of
TLS 1.2 a context puts that in order; of TLS 1.3 only OpenSSL's own configuration can say it before Python
3.15 (docs/install-device.md).
"""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

_CPU = Path("/proc/cpuinfo")
_FLAGS = ("flags", "Features")
"""What x86 and Arm call the line of a processor's abilities."""


@functools.cache
def has_aes() -> bool:
    """Return whether the processor has instructions for AES; unknown counts as yes."""
    try:
        return says_aes(_CPU.read_text(errors="replace"))
    except OSError:
        return True


def says_aes(cpuinfo: str) -> bool:
    """Return whether that of all processors in *cpuinfo* the last has AES; without any: yes."""
    has = True
    for line in cpuinfo.splitlines():
        name, colon, words = line.partition(":")
        if colon and name.strip() in _FLAGS:
            has = "aes" in words.split()
    return has


def prefers_chacha() -> bool:
    """Return whether OpenSSL, as this process found it configured, begins with ChaCha20 in TLS 1.3."""
    names = [str(one["name"]) for one in ssl.create_default_context().get_ciphers()]
    return bool(names) and "CHACHA20" in names[0]


def chacha_first(made: ssl.SSLContext) -> str:
    """Return the ciphers of TLS 1.2 as they are, those with ChaCha20 before the others."""
    names = [
        str(one["name"]) for one in made.get_ciphers() if not str(one["name"]).startswith("TLS_")
    ]
    return ":".join(sorted(names, key=lambda name: "CHACHA20" not in name))
