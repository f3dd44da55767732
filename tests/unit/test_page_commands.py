"""Every command that a page shows is run by a test, or says why not."""

import pytest

from tests.support.pages import COMMANDS, PAGES, ROOT, SHOWN, STAGES, Block, blocks, of_stage

FENCES = [block for page in PAGES for block in blocks(page)]
SHOWN_COMMANDS = [block for block in FENCES if block.language in COMMANDS]


def of(blocks_: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks_, ids=[block.place for block in blocks_])


@of(FENCES)
def test_a_fence_says_what_it_holds(block):
    assert block.language in COMMANDS | SHOWN


@of(SHOWN_COMMANDS)
def test_a_command_is_run_or_says_why_not(block):
    assert block.verb, (
        f"{block.place}: write <!-- run: STAGE --> or <!-- not run: reason --> above it"
    )
    if block.verb == "not run":
        assert len(block.what.split()) >= 3, "a reason is a sentence"
    else:
        assert block.what in STAGES


@of(SHOWN_COMMANDS)
def test_each_line_of_a_console_is_a_command_or_its_output(block):
    assert block.commands()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_test_that_runs_its_blocks_and_pages_that_need_it(stage):
    assert of_stage(stage)
    assert f'"{stage}"' in (ROOT / STAGES[stage]).read_text("utf-8")
