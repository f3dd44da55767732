"""What recordings of real muxers say of themselves, and what hostile ones cost."""

from __future__ import annotations

import io
import random
import struct
from datetime import UTC, datetime
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.media.containers import PARSERS
from edge_agent.media.facts import Facts, facts_of

CREATED = datetime(2026, 11, 20, 10, tzinfo=UTC)


def said(data: bytes) -> dict[str, str]:
    return facts_of(lambda at, size: data[at : at + size], len(data), PARSERS).to_metadata()


def recorded(kind: str, *, is_cut: bool = False, **options: str) -> bytes:
    """Return what a real muxer writes in two seconds; *is_cut*: up to where its power went."""
    file = io.BytesIO()
    out = av.open(file, "w", format=kind, options=options)
    out.metadata["creation_time"] = CREATED.isoformat()
    out.metadata["location"] = "+48.1374+011.5755/"
    stream = out.add_stream("mjpeg" if kind == "avi" else "h264", rate=10)
    stream.width, stream.height, stream.pix_fmt = (
        320,
        240,
        "yuvj420p" if kind == "avi" else "yuv420p",
    )
    stream.options = {} if kind == "avi" else {"tune": "zerolatency", "preset": "ultrafast"}
    for number in range(20):
        for packet in stream.encode(_noise(stream.pix_fmt, number)):
            out.mux(packet)
    if is_cut:
        cut = bytes(file.getvalue())
        out.close()
        return cut
    for packet in stream.encode():
        out.mux(packet)
    out.close()
    return file.getvalue()


def _noise(form: str, seed: int) -> av.VideoFrame:
    """Return a picture that no encoder makes small: what is muxed reaches the file."""
    frame = av.VideoFrame(320, 240, form)
    for plane in frame.planes:
        plane.update(random.Random(seed).randbytes(plane.buffer_size))
    return frame


@pytest.mark.parametrize("kind", ["mp4", "mov", "matroska"])
def test_a_finished_recording_says_how_long_it_is_its_codec_and_when_it_was_made(kind):
    found = said(recorded(kind))

    assert found.pop("location", "+48.1374+011.5755") == "+48.1374+011.5755"
    assert found == {
        "duration_s": "2.000",
        "codecs": "h264",
        "dimensions": "320x240",
        "captured_at": "2026-11-20T10:00:00Z",
    }


def test_where_it_was_made_is_told_if_its_container_has_it():
    assert said(recorded("mov"))["location"] == "+48.1374+011.5755"
    assert said(recorded("mp4"))["location"] == "+48.1374+011.5755"


def test_an_avi_says_it_too():
    found = said(recorded("avi"))

    assert (found["duration_s"], found["dimensions"]) == ("2.000", "320x240")
    assert "unfinalised" not in found


@pytest.mark.parametrize("kind", ["mp4", "mov", "matroska", "avi"])
def test_one_whose_recorder_lost_its_power_is_unfinalised_and_one_that_was_cut_off_is_too(kind):
    whole = recorded(kind)

    assert said(recorded(kind, is_cut=True))["unfinalised"] == "true"
    assert said(whole[:-1000])["unfinalised"] == "true"
    assert "unfinalised" not in said(whole)


def test_a_fragmented_recording_is_whole_up_to_its_last_fragment():
    options: dict[str, Any] = {"movflags": "frag_every_frame+empty_moov"}

    assert "unfinalised" not in said(recorded("mp4", **options))
    assert "unfinalised" not in said(recorded("mp4", is_cut=True, **options))
    assert said(recorded("mp4", **options)[:-10])["unfinalised"] == "true"


def test_a_stream_is_not_unfinalised_for_having_no_length():
    assert "unfinalised" not in said(recorded("matroska", live="1"))


@pytest.mark.parametrize("data", [b"", b"x", b"no container at all, of any kind", bytes(100_000)])
def test_what_is_no_container_says_nothing(data):
    assert said(data) == {}


@given(st.binary(max_size=400), st.sampled_from([b"\0\0\0\x14ftyp", b"\x1a\x45\xdf\xa3", b"RIFF"]))
def test_whatever_comes_after_its_first_bytes_there_is_no_fault(data, head):
    for value in said(head + data).values():
        assert value.isprintable()
        assert len(value) < 300


@given(st.data(), st.sampled_from(["mp4", "matroska", "avi"]))
def test_a_recording_with_wrong_bytes_is_no_fault(data, kind):
    whole = bytearray(MADE[kind])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(whole), 3000) - 1))
        whole[at] = data.draw(st.integers(0, 255))

    said(bytes(whole))


MADE = {kind: recorded(kind) for kind in ("mp4", "matroska", "avi")}


def test_boxes_without_end_are_read_for_a_moment_and_no_longer():
    reads = []

    def read(at: int, size: int) -> bytes:
        reads.append(size)
        return struct.pack(">I4s", 8, b"free") + b"\0" * (size - 8)

    facts_of(read, 1 << 40, PARSERS)

    assert len(reads) <= 20_001
    assert sum(reads) <= 1 << 20


def test_boxes_in_boxes_in_boxes_end():
    deep = b""
    for _ in range(5000):
        deep = struct.pack(">I4s", len(deep) + 8, b"trak") + deep
    data = struct.pack(">I4s", len(deep) + 8, b"moov") + deep

    assert "duration_s" not in said(data)


@pytest.mark.parametrize(
    "text", ["+00.0000+000.0000/", "+91.0+011.0/", "", "48.1,11.5", "+48.1+011.5\n<b>"]
)
def test_a_place_that_is_none_is_not_told(text):
    facts = Facts()
    facts.place(text)

    assert facts.to_metadata() == {}


def test_a_codec_is_a_short_plain_word():
    facts = Facts()
    for name in (
        "avc1",
        "AVC1",
        "x" * 500,
        "<script>",
        "\r\n",
        *(f"c{number}" for number in range(50)),
    ):
        facts.add_codec(name)

    assert facts.codecs[0] == "h264"
    assert len(facts.codecs) == 8
    assert all(len(one) <= 32 and "<" not in one for one in facts.codecs)
