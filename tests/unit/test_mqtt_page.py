"""docs/mqtt.md, and the words of the server's page: every code that an agent can send, and none that it cannot."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.left_out import Cause
from edge_agent.core.recording import FailureCode
from edge_agent.report import contract

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/mqtt.md").read_text("utf-8")
WORDS = (ROOT / "ingest_server/page/words.js").read_text("utf-8")

FAILURES, AFTER = "A failed file has one of these as `code`", "**No other refusal"
BOTH = {str(reason) for reason in Reason} & {str(code) for code in ProblemCode}


def part(start: str, end: str) -> str:
    """Return what the page says from the words *start* to *end*."""
    return PAGE[(at := PAGE.index(start)) : PAGE.index(end, at)]


def code_words(text: str) -> list[str]:
    return re.findall(r"`([a-z_.-]+)`", text)


def first_column(text: str) -> list[str]:
    """Return the words of the first column of a table."""
    rows = re.findall(r"^ *\| (`[^|]+) \|", text, re.MULTILINE)
    return [word for row in rows for word in code_words(row)]


def sentence(beginning: str) -> list[str]:
    """Return the words of the sentence that begins so."""
    return code_words(re.split(r"\.\s", part(beginning, "\n- ").removeprefix(beginning) + " ")[0])


def each_once(words: Iterable[str]) -> list[str]:
    return sorted(str(word) for word in words)


def test_each_reason_is_named_as_one():
    named = sentence("- `blocked_by` says why nothing is sent although something waits: ")

    assert sorted(named) == each_once(Reason)


def test_each_problem_has_one_line():
    named = first_column(PAGE[PAGE.index("## When it does not work") :])

    assert sorted(named) == each_once(ProblemCode)


def test_those_that_are_both_are_said_to_be_so():
    said = part("- `problems` are fixed codes, all of them listed below. ", " are both:")

    assert set(code_words(said)) - {"problems"} == BOTH


def test_each_code_of_a_failed_file_has_one_line():
    named = first_column(part(FAILURES, AFTER))

    assert sorted(named) == each_once(FailureCode)


def test_each_cause_of_what_is_left_out_has_one_line():
    named = first_column(part("| cause |", "\nThe agent sends `state`"))

    assert sorted(named) == each_once(Cause)


def test_each_event_has_one_line():
    named = first_column(part("| type | when |", "`data.file_id` is in each event"))

    assert sorted(named) == sorted(contract.schema("event")["properties"]["type"]["enum"])


def test_each_state_is_named():
    named = sentence("- `state`: ")

    assert sorted(named) == sorted(contract.schema("state")["properties"]["state"]["enum"])


def table(name: str) -> set[str]:
    """Return the keys of an object of the page's words."""
    body = re.search(rf"^const {name} = \{{(.*?)\}}$", WORDS, re.MULTILINE | re.DOTALL)
    assert body is not None
    return set(re.findall(r"(?:^|[,{] ?)\s*'?([a-z_.-]+)'?: [\['\"]", body[1], re.MULTILINE))


def worded_problems() -> set[str]:
    return table("PROBLEMS") | table("WORKERS")


def worded_events() -> set[str]:
    return {f"edgeup.{one}" for one in table("EVENTS")}


@pytest.mark.parametrize(
    ("codes", "worded"),
    [
        pytest.param(Reason, table("REASONS"), id="reasons"),
        pytest.param(ProblemCode, worded_problems(), id="problems"),
        pytest.param(FailureCode, table("FAILURES"), id="failures"),
        pytest.param(
            contract.schema("event")["properties"]["type"]["enum"], worded_events(), id="events"
        ),
    ],
)
def test_the_page_has_words_for_each(codes, worded):
    assert {str(code) for code in codes} - worded == set()
