"""What ends a setup."""

from __future__ import annotations


class SetupError(Exception):
    """Something stands in the way; the message says what, and what to do. What was done so far is noted."""
