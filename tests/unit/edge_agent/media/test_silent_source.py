"""An open recording whose file system answers nothing any more."""

import os

import pytest

from edge_agent.base.errors import SourceSilentError
from edge_agent.media.source import Source
from tests.support.file_systems import fuse_that_falls_silent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


def test_whatever_is_asked_of_it_is_answered_with_that_and_nobody_hangs(tmp_path):
    with fuse_that_falls_silent(tmp_path / "front", below=tmp_path / "below") as front:
        recording = front.mount / "A.mp4"
        recording.write_bytes(b"x" * 5000)
        with Source.open(os.fsencode(recording)) as source:
            before = source.now()
            front.fall_silent()

            for ask in (source.now, lambda: source.is_unlinked, lambda: source.check(before)):
                with pytest.raises(SourceSilentError, match=r"A\.mp4 lies on does not answer"):
                    ask()

            front.answer()
