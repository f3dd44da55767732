"""The page that shows the state table is the state table."""

import importlib.util
import re
from html import unescape
from pathlib import Path

import pytest

from edge_agent.core.upload import FINAL, TRANSITIONS, State

DOCS = Path(__file__).parents[2] / "docs"


def draw_states():
    spec = importlib.util.spec_from_file_location("draw_states", DOCS / "draw_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_table_draws():
    assert (DOCS / "states.md").read_text(encoding="utf-8") == draw_states().page()


@pytest.mark.parametrize("of", ["recording", "upload"])
def test_a_figure_shows_the_arrows_of_its_table_and_no_others(of):
    titles = re.findall(
        r"<title>(.*?)</title>", (DOCS / f"figures/states-{of}.svg").read_text("utf-8")
    )
    drawn = sorted(tuple(unescape(one).split("->")) for one in titles if "gt;" in one)

    table = getattr(draw_states(), f"of_a{'n' * (of == 'upload')}_{of}")()

    assert drawn == sorted((before, after) for before, after, _ in table)


def test_only_verified_leads_to_released():
    sources = {before for (before, _), after in TRANSITIONS.items() if after is State.RELEASED}

    assert sources == {State.VERIFIED}


def test_every_state_that_is_not_final_has_a_way_out_and_a_final_one_has_none():
    with_exit = {before for (before, _), after in TRANSITIONS.items() if after is not before}

    assert with_exit == set(State) - FINAL


def test_a_new_place_that_moves_a_recording_changes_the_page(tmp_path):
    module = tmp_path / "edge_agent" / "send" / "new.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "class New:\n"
        "    def step(self):\n"
        "        self._store.advance(recording, Event.DELETED, detail='')\n"
        "        moves = [Move(recording, event)]\n"
    )

    found = list(draw_states().callers(tmp_path / "edge_agent"))

    assert found == [
        ("edge_agent/send/new.py", "New.step", "Event.DELETED"),
        ("edge_agent/send/new.py", "New.step", "event"),
    ]


def test_every_event_that_a_module_names_is_one_of_the_table():
    named = {event for _, _, event in draw_states().callers() if event.startswith("Event.")}

    assert {draw_states().told(event) for event in named} <= {event for _, event in TRANSITIONS}
