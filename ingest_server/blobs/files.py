"""Part files and published files below one data folder."""

from __future__ import annotations

from pathlib import Path


class FileBlobs:
    """The bytes of uploads: ``parts/`` while they arrive, ``published/`` when verified.

    Raises:
        StorageError: hard links fail there, or it cannot be written.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
