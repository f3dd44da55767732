"""Recordings made by real muxers: small ones in a moment, large ones without much CPU."""

import hashlib
from pathlib import Path

import av

from demo.camera import KINDS, Picture, record

MB = 1_000_000


def make_recording(path: Path, *, seconds: float = 2.0, mbit: float = 8.0) -> Path:
    """Record a few MB as fast as the encoder goes; the ending of *path* chooses the muxer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Picture(bits_per_s=round(mbit * MB), noise=20)
    record(path, seconds=seconds, picture=picture, is_real_time=False)
    return path


def make_large_recording(path: Path, *, length: int) -> Path:
    """Make a playable recording of at least *length* bytes: a few noisy seconds, again and again."""
    take = path.with_name(f".take{path.suffix}")  # a dotfile: no agent sends it
    picture = Picture(bits_per_s=100 * MB, noise=60)
    record(take, seconds=2.0, picture=picture, is_real_time=False)
    try:
        _repeat(take, path, length)
    finally:
        take.unlink()
    return path


def _repeat(take: Path, path: Path, length: int) -> None:
    with (
        av.open(str(take)) as source,
        av.open(str(path), "w", format=KINDS[path.suffix[1:]]) as out,
    ):
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        out.metadata["title"] = path.stem
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        step = max(packet.duration or 1 for packet in packets)
        decoded = [packet.dts for packet in packets if packet.dts is not None]
        span = decoded[-1] - decoded[0] + step
        written = 0
        bodies = [
            (bytes(packet), packet.pts, packet.dts, packet.duration, packet.is_keyframe)
            for packet in packets
        ]
        start, time_base = 0, stream.time_base
        assert time_base is not None
        while written < length:
            for body, pts, dts, duration, is_keyframe in bodies:
                packet = av.Packet(body)
                packet.pts, packet.dts = (pts or 0) + start, (dts or 0) + start
                packet.duration, packet.is_keyframe = duration, is_keyframe
                packet.time_base = time_base
                packet.stream = copy
                out.mux(packet)
                written += len(body)
            start += span


def sha256(path: Path) -> str:
    """Return the file's SHA-256, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
