"""What readiness means to whoever asks: a load balancer, which takes the server away or leaves it.

It takes all of it away. So a server is unready only for what leaves nothing that is worth a request;
what refuses one kind of request is told, by its code, with 200.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

SERVES_ON = frozenset({"disk-full", "no-inodes", "route-away"})
"""No new bytes, or no new files, are taken (507, with Retry-After). Completing, receipts, aborting and status work, and
are what makes room again. Or what goes to the bucket of a rule is refused (503, with Retry-After), and nothing else."""


def readiness_answer(codes: Sequence[str]) -> tuple[HTTPStatus, str]:
    """Return the status and the text of ``/readyz``: a code on each line, or ``ok``."""
    is_unready = not SERVES_ON.issuperset(codes)
    status = HTTPStatus.SERVICE_UNAVAILABLE if is_unready else HTTPStatus.OK
    return status, ("\n".join(codes) or "ok") + "\n"
