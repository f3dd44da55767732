"""What fits into the columns of a terminal: wide letters take two, marks upon letters none."""

import pytest

from edge_host.columns import columns, fitting, padded, shortened, wrapped

FLIGHT = "映像_第一回目の飛行.mp4"
E = "e\u0301"
MARKED = E * 30


@pytest.mark.parametrize(
    ("text", "taken"),
    [("DJI_0042.MP4", 12), (FLIGHT, 23), ("رحلة.mp4", 8), (MARKED, 30), ("\U0001f681", 2), ("", 0)],
)
def test_a_character_is_not_a_column(text, taken):
    assert columns(text) == taken
    assert columns(padded(text, 40)) == 40


def test_a_wide_letter_that_fits_half_is_left_out_and_no_letter_loses_its_mark():
    assert fitting(FLIGHT, 3) == "映"
    assert fitting(MARKED, 2) == 2 * E
    assert shortened(MARKED, 11) == 4 * E + "..." + 4 * E
    assert shortened(FLIGHT, 11) == "映像....mp4"
    assert shortened(FLIGHT, 23) == FLIGHT


def test_lines_end_between_words_and_not_after_a_hyphen():
    text = "published as drone-07/2026-11-30/clip_0029.mp4"

    assert wrapped(text, 40, first="    ", rest="    ") == [
        "    published as",
        "    drone-07/2026-11-30/clip_0029.mp4",
    ]


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize("name", [FLIGHT * 9, MARKED * 9, "انان" * 60, "x" * 255, "a  b " * 40])
def test_no_line_is_wider_than_the_terminal_and_nothing_of_a_name_is_lost(width, name):
    lines = wrapped(f"sending {name} 53 %", width, rest="    ")

    assert max(map(columns, lines)) <= width
    assert "".join(lines).replace(" ", "") == f"sending{name}53%".replace(" ", "")
    assert not any(line[4:5] == " " for line in lines[1:])
