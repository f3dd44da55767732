"""The store of bytes that the configuration names: the data folder, or a bucket."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ingest_server.config import ServerConfig
from ingest_server.core.errors import ServerError, SettingError, StateLostError, StorageError
from ingest_server.core.routes import place_of
from ingest_server.storage.files.observed import UNWATCHED, Disk
from ingest_server.storage.files.parts import PARTS, FileBlobs
from ingest_server.storage.files.published import PUBLISHED
from ingest_server.storage.interface import Blobs, StateStore
from ingest_server.storage.moving import MovingBlobs

if TYPE_CHECKING:
    from ingest_server.storage.s3.blobs import S3Blobs


def make_blobs(config: ServerConfig, facts: StateStore, disk: Disk = UNWATCHED) -> Blobs:
    """Return the store of bytes; nothing is asked of it yet.

    Args:
        config: what names it.
        facts: which know where each upload is.
        disk: is told what the files' disk does.

    Raises:
        ServerError: the program for it is not installed, or its credentials cannot be read.
    """
    if config.storage.blobs is None:
        return FileBlobs(config.server.data_dir, disk)
    own = bucket_of(config)
    from ingest_server.storage.s3.places import S3Places  # there, now that the own place is

    places = S3Places(own, config.places, facts)
    if config.storage.before is not None:
        return MovingBlobs(FileBlobs(config.storage.before, disk), places)
    return places


def holds_elsewhere(config: ServerConfig) -> bool:
    """Whether no store of files holds the data folder."""
    before, data_dir = config.storage.before, config.server.data_dir
    is_before = before is not None and before.resolve() == data_dir.resolve()
    return config.storage.blobs is not None and not is_before


def bucket_of(config: ServerConfig) -> S3Blobs:
    """Return the bucket that [storage] blobs names; nothing is asked of it yet.

    Raises:
        ServerError: the program for it is not installed.
        SettingError: files may be longer than the store can take.
        StorageError: its credentials cannot be read.
    """
    try:
        from ingest_server.storage.s3.blobs import S3Blobs
        from ingest_server.storage.s3.pieces import MOST_BYTES
        from ingest_server.storage.s3.place import Place
    except ModuleNotFoundError as error:
        raise ServerError(
            f"[storage] blobs names an S3 bucket, and {error.name} is not installed: install "
            "edge-uploader with the extra [scale]"
        ) from error
    if config.limits.max_length > MOST_BYTES:
        raise SettingError(
            f"[limits] max_length is {config.limits.max_length} bytes, and files in a bucket have at most "
            f"{MOST_BYTES}: set it to 900TB or less"
        )
    said = config.storage
    try:
        return S3Blobs(
            Place.of(
                said.blobs or "",
                endpoint=said.endpoint,
                region=said.region,
                credentials_file=said.credentials_file,
                shown_endpoint=said.presigned_endpoint,
            )
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise StorageError(f"cannot use {said.blobs}: {why}") from error


def look_at_blobs(config: ServerConfig, facts: StateStore) -> Blobs:
    """Return the store of bytes for a command beside a server that may be running.

    Raises:
        StorageError: it is not there, or cannot be read.
        StateLostError: what was in it is gone.
        Refused: the database failed.
    """
    blobs = make_blobs(config, facts)
    blobs.look()
    try:
        _refuse_emptied(config, facts, blobs)
    except BaseException:
        blobs.close()
        raise
    return blobs


def look_at_place(config: ServerConfig, place: str | None) -> Blobs:
    """Return one place of the store of bytes, to be tried; None: the own one.

    Raises:
        StorageError: it is not there, cannot be used, or is another server's.
    """
    if config.storage.blobs is None:
        files = FileBlobs(config.server.data_dir)
        files.look()
        return files
    from ingest_server.storage.s3.proving import refuse_anothers

    own = bucket_of(config)
    found = own if place is None else own.beside(own.place.sibling(place))
    found.prepare()
    if place is None:
        own.mark.refuse_routed(own.mark.told())
    else:
        own.prepare()
        refuse_anothers(place, found.mark.told(), own.mark.told())
    return found


def left_places(config: ServerConfig, facts: StateStore) -> Iterator[str]:
    """Yield a sentence on each place where uploads are and no rule leads any more.

    Raises:
        Refused: the database failed.
    """
    for place in filter(place_of, facts.routes()):
        unfinished, files = facts.on_route(place)
        if place not in config.places and unfinished + files:
            yield (
                f"{place} has {unfinished:,} unfinished upload(s) and {files:,} file(s), and no "
                "[[route]] leads there any more. They stay there and are served from there: keep the bucket, "
                "and let the server's key use it"
            )


def is_unused(config: ServerConfig) -> bool:
    """Whether files are to be in the data folder, and no server has run with it."""
    return config.storage.blobs is None and not (config.server.data_dir / PARTS).exists()


def is_without_published(config: ServerConfig) -> bool:
    """Whether published files are to be in the data folder, and no server has made their place."""
    return config.storage.blobs is None and not (config.server.data_dir / PUBLISHED).is_dir()


def refuse_lost_facts(config: ServerConfig) -> None:
    """Refuse to begin new facts beside a bucket that others have known.

    Raises:
        StateLostError: the bucket is in use.
        StorageError: it cannot be asked.
    """
    with closing(bucket_of(config)) as blobs:
        blobs.prepare()
        is_known = blobs.mark.told() is not None
    if is_known:
        raise StateLostError(
            f"The database is empty, but a server has run with {config.storage.blobs}, which another "
            "database knew. Nothing was changed: the new one would know no token and no upload. Name the "
            "database that belongs to it ([storage] state, or state.db in data_dir), or another prefix"
        )


def tie(config: ServerConfig, state: StateStore, blobs: Blobs) -> None:
    """Tie the facts to the store of bytes that they are about, where that is elsewhere.

    Raises:
        StateLostError: they are about another one, or what they are about is gone.
    """
    _refuse_emptied(config, state, blobs)
    name = blobs.identify(state.tie_folder)
    if name is not None and not state.take_folder(name):
        raise StateLostError(
            f"The database knows the files of another place than {config.storage.blobs}. Nothing was "
            "changed. Name the bucket and the prefix that it was used with"
        )


def _refuse_emptied(config: ServerConfig, state: StateStore, blobs: Blobs) -> None:
    if not blobs.is_begun() and state.page(device=None, state=None, after=None, limit=1):
        raise StateLostError(
            f"{config.storage.blobs} is empty, but the database knows of uploads there. Nothing was changed. "
            "Bring back what was in the store, or name the bucket and the prefix that it was used with. If "
            "it is lost, begin with an empty database: devices send what they still have"
        )


class BareFolder:
    """The data folder of one server, where no store of files holds it."""

    def __init__(self, data_dir: Path) -> None:
        """Hold it until `close`.

        Raises:
            StorageError: another server does, or it cannot be used.
        """
        try:
            self._lock = (data_dir / "lock").open("a")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"another ingest-server is using {data_dir}: stop it, or use another data_dir"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot use {data_dir}: {error}") from error

    def close(self) -> None:
        """Let go of it. Repeatable."""
        self._lock.close()
