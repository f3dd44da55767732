"""How many examples Hypothesis tries: all that a test asks for, or a share where time is short."""

from hypothesis import settings

ALL = 100
"""What Hypothesis takes where nothing is said; counts in tests are meant beside it."""
FAST = 20
"""Of the profile ``fast``, which `make test-fast` chooses."""
LONG = 1000
"""Of the profile ``long``, which `make test-long` chooses."""


def examples(most: int) -> int:
    """Return the ``max_examples`` of a test that tries *most* where there is time."""
    chosen = settings.default
    assert chosen is not None
    return max(1, most * chosen.max_examples // ALL)
