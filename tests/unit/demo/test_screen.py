"""The live line: one line of the terminal, however narrow that is."""

import pytest

from demo.screen import cut

LINE = "a.mp4 41 %, 2.1 MB of 5.1 MB, 1.0 MB/s"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, LINE),
        (len(LINE), LINE),
        (len(LINE) - 1, "a.mp4 41 %, 2.1 MB of 5.1 MB"),
        (11, "a.mp4 41 %"),
        (10, "a.mp4 41 %"),
        (5, "a.mp4"),
    ],
)
def test_no_part_is_shown_by_half_unless_it_is_the_only_one(width, shown):
    assert cut(LINE, width) == shown
