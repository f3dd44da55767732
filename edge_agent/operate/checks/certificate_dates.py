"""How long a certificate in a file is good; `ssl` tells that of the other side's certificate only."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_SEQUENCE, _EXPLICIT_0, _GENERALIZED_TIME = 0x30, 0xA0, 0x18


@dataclass(frozen=True, slots=True)
class Validity:
    """The time in which a certificate is good."""

    begins: datetime
    ends: datetime


def validity(cert_file: Path) -> Validity:
    """Return from when to when the first certificate in *cert_file* is good (RFC 5280, 4.1.2.5).

    Raises:
        ValueError: the file cannot be read, or holds no certificate.
    """
    try:
        text = cert_file.read_text(encoding="ascii", errors="replace")
        at = text.index("-----BEGIN CERTIFICATE-----")
        stop = text.index("-----END CERTIFICATE-----", at) + len("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(text[at:stop])
        certificate, _ = _take(der, _SEQUENCE)
        fields, _ = _take(certificate, _SEQUENCE)
        if fields[0] == _EXPLICIT_0:
            _, fields = _take(fields)  # the version
        for _field in ("serial number", "signature", "issuer"):
            _, fields = _take(fields)
        times, _ = _take(fields, _SEQUENCE)
        begins, times = _take_time(times)
        ends, _ = _take_time(times)
    except (OSError, IndexError, ValueError) as error:
        msg = f"{cert_file} holds no certificate that can be read"
        raise ValueError(msg) from error
    return Validity(begins, ends)


def _take(der: bytes, wanted: int | None = None) -> tuple[bytes, bytes]:
    """Return the content of the first value in *der*, and what follows it."""
    if wanted is not None and der[0] != wanted:
        raise ValueError("not a certificate")
    length, at = der[1], 2
    if length & 0x80:
        at += length & 0x7F
        length = int.from_bytes(der[2:at], "big")
    return der[at : at + length], der[at + length :]


def _take_time(der: bytes) -> tuple[datetime, bytes]:
    text, rest = _take(der)
    # UTCTime has two digits of the year, which `%y` reads as 1969-2068 and RFC 5280 as 1950-2049.
    form = "%Y%m%d%H%M%SZ" if der[0] == _GENERALIZED_TIME else "%y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC), rest
