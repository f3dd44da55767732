"""What only helps ends nothing, and is said once."""

import pytest
import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.helper import only_helps
from edge_agent.base.reasons import ProblemCode


def call(error: BaseException | None) -> str:
    with only_helps("a thing", instead="it goes on"):
        if error is not None:
            raise error
        return "helped"
    return "went on"


def test_whatever_a_helper_raises_who_it_helps_goes_on_and_it_is_said_once():
    with structlog.testing.capture_logs() as lines:
        answers = [call(OSError(24, "no more")), call(ValueError("odd")), call(None), call(None)]

    assert answers == ["went on", "went on", "helped", "helped"]
    assert lines == [
        {
            "event": "helper.failed",
            "log_level": "warning",
            "helper": "a thing",
            "error": "OSError: [Errno 24] no more",
            "action": "it goes on",
        },
        {"event": "helper.restored", "log_level": "info", "helper": "a thing"},
    ]


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_program_is_no_failure_of_a_helper(end):
    with pytest.raises(end):
        call(end())


def test_a_listener_that_raises_does_not_end_the_worker_that_wrote_on_the_board():
    activity, heard = Activity(), []

    def broken() -> None:
        raise RuntimeError("a listener's bug")

    activity.subscribe(broken)
    activity.subscribe(lambda: heard.append(activity.problems))

    assert activity.problem(ProblemCode.QUOTA, present=True)
    assert heard == [{ProblemCode.QUOTA}]
