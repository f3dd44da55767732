"""A camera: a test picture with a running clock, encoded and written the way recorders write.

Recorders write under the final name, grow in real time and go back to the front of the file when they
close it (MP4: the size of ``mdat``; Matroska: seek head and duration). The muxers here are the ones
that recorders use, so the files have that habit too.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import av.filter

KINDS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "ts": "mpegts"}
"""File ending -> name of the muxer."""

_ENCODERS: tuple[tuple[str, dict[str, str]], ...] = (
    # No look-ahead: a camera writes a frame when it has one, not seconds later.
    ("libx264", {"preset": "ultrafast", "tune": "zerolatency"}),
    ("mpeg4", {}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is in front of the lens."""

    width: int = 1280
    height: int = 720
    frames_per_s: int = 25
    bits_per_s: int = 4_000_000
    noise: int = 0
    """0 to 100: snow over the picture, so that it cannot be compressed away."""


def _frames(picture: Picture) -> Iterator[av.VideoFrame]:
    graph = av.filter.Graph()
    size = f"{picture.width}x{picture.height}"
    last = graph.add("testsrc2", f"size={size}:rate={picture.frames_per_s}")
    steps = [("noise", f"alls={picture.noise}:allf=t")] if picture.noise else []
    for name, arguments in [*steps, ("format", "yuv420p"), ("buffersink", "")]:
        step = graph.add(name, arguments) if arguments else graph.add(name)
        last.link_to(step)
        last = step
    graph.configure()
    while True:
        frame = graph.pull()
        if isinstance(frame, av.VideoFrame):
            yield frame


def encoder() -> tuple[str, dict[str, str]]:
    """Return the best encoder that this build has, and its options."""
    for name, options in _ENCODERS:
        if name in av.codecs_available:
            return name, options
    msg = "neither H.264 nor MPEG-4 can be encoded by the installed PyAV"
    raise RuntimeError(msg)


def record(
    path: Path,
    *,
    seconds: float,
    picture: Picture | None = None,
    is_real_time: bool = True,
    is_stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Record *seconds* of video to *path*; return how many frames are in it.

    The ending of *path* chooses the muxer. The file is complete on return, also when *is_stopped*
    ended the recording early.

    Raises:
        FileExistsError: there is something at *path*; a camera doesn't write over a recording.
        ValueError: no muxer is known for the ending.
    """
    picture = picture or Picture()
    kind = path.suffix.lstrip(".").lower()
    if kind not in KINDS:
        msg = f"a recording ends in one of {', '.join(KINDS)}, not {kind or 'nothing'!r}"
        raise ValueError(msg)
    if path.exists():
        raise FileExistsError(errno.EEXIST, "a recording of this name is there", str(path))
    codec, options = encoder()
    count = round(seconds * picture.frames_per_s)
    # flush_packets: what a person sees in the folder grows with each frame, not in gulps.
    container = av.open(str(path), "w", format=KINDS[kind], options={"flush_packets": "1"})
    with container:
        container.metadata["title"] = path.stem
        stream = container.add_stream(codec, rate=picture.frames_per_s, options=options)
        if not isinstance(stream, av.VideoStream):
            msg = f"{codec} is no video encoder"
            raise TypeError(msg)
        stream.width, stream.height = picture.width, picture.height
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = picture.bits_per_s
        started = time.monotonic()
        written = 0
        for frame in _frames(picture):
            if written >= count or is_stopped():
                break
            frame.pict_type = av.video.frame.PictureType.NONE  # the encoder decides
            container.mux(stream.encode(frame))
            written += 1
            if is_real_time:
                due = started + written / picture.frames_per_s
                time.sleep(max(0.0, due - time.monotonic()))
        container.mux(stream.encode(None))
    return written
