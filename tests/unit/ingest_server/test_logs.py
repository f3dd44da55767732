import io
import json
import logging
import subprocess
import sys

import pytest
import structlog

from ingest_server import logs

TOKEN = "edt_drone-1_" + "Ab0-" * 10 + "xyz"


@pytest.fixture
def lines():
    stream = io.StringIO()
    yield stream
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


def test_a_line_is_json_with_a_utc_time(lines):
    logs.configure(level="info", form="auto", stream=lines)

    structlog.get_logger().info("upload.created", upload_id="1")

    line = json.loads(lines.getvalue())
    assert line["event"] == "upload.created"
    assert line["upload_id"] == "1"
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_a_logger_from_before_follows_a_new_level(lines):
    log = structlog.get_logger()
    logs.configure(level="warning", form="json", stream=lines)
    log.info("one.skipped")
    logs.configure(level="debug", form="json", stream=lines)
    log.debug("two.written")

    assert [json.loads(line)["event"] for line in lines.getvalue().splitlines()] == ["two.written"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_token_never_gets_through(lines, form):
    logs.configure(level="info", form=form, stream=lines)

    structlog.get_logger().info("x.happened", error=f"bad header Bearer {TOKEN}")

    assert TOKEN not in lines.getvalue()
    assert "edt_drone-1_[redacted]" in lines.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_name_cannot_forge_a_line_or_move_the_cursor(lines, form):
    logs.configure(level="info", form=form, stream=lines)

    structlog.get_logger().info("x.happened", name="a\n[error] forged\x1b[2J\u2028b")

    assert lines.getvalue().count("\n") == 1
    assert "\x1b" not in lines.getvalue()
    assert "\u2028" not in lines.getvalue()


def test_libraries_log_in_the_same_form(lines):
    logs.configure(level="info", form="json", stream=lines)

    logging.getLogger("falcon").warning("something %s", "odd")

    line = json.loads(lines.getvalue())
    assert (line["source"], line["error"]) == ("falcon", "something odd")


def test_a_traceback_needs_no_rich():
    program = (
        "import sys; sys.modules['rich'] = None\n"
        "from ingest_server import logs; import structlog\n"
        "logs.configure(level='info', form='console')\n"
        "try: 1/0\n"
        "except ZeroDivisionError as e: structlog.get_logger().error('x.failed', exc_info=e)\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "ZeroDivisionError: division by zero" in run.stderr
