"""What the core is told by the operator."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """What the operator chose. Sizes in bytes."""

    max_length: int | None = None
    max_open_uploads_per_device: int = 256
    quota_bytes: int | None = None
    """What unfinished uploads of one device may hold; None: no limit."""
    min_free_bytes: int = GIB
    require_digest: bool = False
    idle_expiry_s: float = 14 * 86400
    keep_published_s: float = 0.0
    """How long a published file is kept; 0: for ever."""
    scrub_s: float = 30 * 86400
    """How long the reading of a published file counts after a restart."""
    seal_bytes: int = 8 * MIB
    seal_s: float = 2.0
    name_template: str = "{device}/{date}/{name}"
    read_bytes: int = MIB
    """Most that is received, written and hashed at once. Against 256 KiB, 8 MB bodies on one
    connection took 0.85 of the CPU time; docs/performance.md has the runs."""
    folder_lead_s: float = 0.02
    """How long a new folder is there before its first file: a program that watches folders needs
    about a millisecond to put a watch on it."""
    verify_wait_s: float = 5.0
    """How long `UploadService.complete` waits before it answers `Pending`."""
