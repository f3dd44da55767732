"""What can stop the demo."""


class DemoError(Exception):
    """The demo cannot go on; the text says what happened and what to do."""
