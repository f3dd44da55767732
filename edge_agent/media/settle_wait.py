"""Why a recording waits that is not known to be finished, in words."""

from __future__ import annotations

import os

from edge_agent.base.reasons import Reason
from edge_agent.base.view import Wait
from edge_agent.core.left_out import Cause, cause_of
from edge_agent.media import beneath


def too_early(pause_s: float, quiet_s: float) -> Wait:
    """Return why a file waits to which nobody writes."""
    why = "it is empty"
    if pause_s:
        why = f"it, or one named like it, grew again after a pause of {pause_s:g} s"
    return Wait(Reason.STILL_RECORDING, f"{why}: it must be quiet for {quiet_s:g} s")


def marked(why: str, quiet_s: float) -> Wait:
    """Return why a file waits of which a marker says that it is not finished."""
    return Wait(
        Reason.STILL_RECORDING, f"{why}: it waits for that, or to be quiet for {quiet_s:g} s"
    )


def unknown_writer(path: bytes, quiet_s: float) -> Wait:
    """Return why a file waits of which the kernel does not tell who writes to it."""
    try:
        os.close(beneath.open_file(path))
    except OSError as error:
        if cause_of(error.errno) is Cause.PERMISSION:
            return Wait(Reason.PERMISSION, "this user may not read it: give the agent access to it")
    detail = f"the kernel cannot tell who writes to it: it must be quiet for {quiet_s:g} s"
    return Wait(Reason.STILL_RECORDING, detail)
