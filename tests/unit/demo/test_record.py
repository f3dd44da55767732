"""What the demo records with, and what it says where there is nothing to record with."""

import av
import pytest

from demo import ffmpeg, record
from demo.errors import DemoError
from tests.support.requirements import require


def test_without_any_recorder_the_person_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DemoError, match="apt install ffmpeg, or copy a video of yours into"):
        ffmpeg.record(tmp_path / "a.mp4", seconds=1.0, bits_per_s=1_000_000)

    assert not (tmp_path / "a.mp4").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(capsys, tmp_path):
    (tmp_path / "file").write_text("")

    code = record.main(["--out", str(tmp_path / "file/media"), "--seconds", "1"])

    assert code == 1
    assert capsys.readouterr().err == f"could not record: {tmp_path}/file/media: Not a directory\n"


def test_where_pyav_is_missing_ffmpeg_records_and_an_early_end_leaves_a_whole_file(tmp_path):
    require("ffmpeg")
    recording = tmp_path / "a.mp4"

    def has_begun() -> bool:
        return recording.stat().st_size > 100_000

    ffmpeg.record(recording, seconds=60.0, bits_per_s=4_000_000, is_stopped=has_begun)

    with av.open(str(recording)) as file:
        assert sum(1 for _ in file.decode(video=0)) > 0


def test_ffmpeg_writes_over_no_recording(tmp_path):
    require("ffmpeg")
    (tmp_path / "a.mp4").write_text("mine")

    with pytest.raises(FileExistsError):
        ffmpeg.record(tmp_path / "a.mp4", seconds=1.0, bits_per_s=1_000_000)

    assert (tmp_path / "a.mp4").read_text() == "mine"


def test_ffmpeg_is_asked_to_stop_once_for_by_more_it_leaves_half_a_file(monkeypatch, tmp_path):
    program, asked = tmp_path / "ffmpeg", tmp_path / "asked"
    lines = [
        "#!/bin/bash",
        f"trap 'echo once >> {asked}; ending=yes' INT",
        "end=$((SECONDS + 20))",
        'while [ -z "$ending" ] && [ $SECONDS -lt $end ]; do read -t 0.05 <> <(:); done',
        "read -t 0.5 <> <(:)  # it closes its file",
        "read -t 0.5 <> <(:)",
        'echo a file > "${@: -1}"',
    ]
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    ffmpeg.record(tmp_path / "a.mp4", seconds=60.0, bits_per_s=1_000_000, is_stopped=lambda: True)

    assert asked.read_text() == "once\n"
    assert (tmp_path / "a.mp4").read_text() == "a file\n"
